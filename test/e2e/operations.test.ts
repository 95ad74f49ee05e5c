import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { SealService } from "@nexus/proto/vault";
import { createRpcChannel, createRpcClient } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { command, ROOT } from "./_command.ts";
import { startFleet, submitTasks, type TestFleet, type TestUser, waitForEnd } from "./_fleet.ts";

let fleet: TestFleet;
let user: TestUser;
let home: string;
/** A second stack, that starts with the first: the token of its start ends while the others are tested. */
let other: TestFleet;
let dataDir: string;
let firstToken: string | undefined;

/** So short that a token of the start has ended when the stack has started again. */
const shortTokens = () => ({ NEXUS_VAULT_ACCESS_TOKEN_TTL_MS: "15000" });

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "nexus-home-"));
  dataDir = mkdtempSync(join(tmpdir(), "nexus-again-"));
  other = await startFleet({ dataDir, env: shortTokens });
  firstToken = (await other.admin.credentials?.accessToken())?.value;
  fleet = await startFleet();
  user = await fleet.createUser();
  await fleet.startAgent("echo-1");
}, 240_000);

afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
  for (const folder of [home, dataDir]) rmSync(folder, { recursive: true, force: true });
}, 120_000);

/** Why a call was refused; empty when it was answered. */
function reasonOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "",
    (refusal: unknown) => NexusError.from(refusal).reason,
  );
}

describe("the nexus command as a process", () => {
  const program = join(ROOT, "apps/cli/bin/nexus.js");
  const env = () => ({ NEXUS_CONFIG_DIR: home, NEXUS_GATEWAY: fleet.stack.info.gateway });
  const nexus = (...args: string[]) =>
    command(process.execPath, [program, ...args], { env: env() });

  it("logs in, and a later one submits and follows a job as the same user", async () => {
    const file = fleet.stack.info.adminCredentialsFile;
    const login = await nexus("login", "--credentials-file", file);
    expect(login).toMatchObject({ code: 0, stdout: expect.stringContaining("Logged in") });
    const tasks = JSON.stringify([{ key: "only", capability: "work.echo", input: { n: 1 } }]);
    const submitted = await nexus("jobs", "submit", "--tasks", tasks, "--wait");
    expect(submitted).toMatchObject({ code: 0, stdout: expect.stringContaining("job completed") });
  });

  it("reads standard input, and exits with the code of what went wrong", async () => {
    const args = [program, "secrets", "put", "e2e/piped"];
    const stored = await command(process.execPath, args, { env: env(), input: "one\n" });
    expect(stored).toMatchObject({ code: 0, stdout: "Stored version 1 of e2e/piped.\n" });
    const missing = await nexus("jobs", "get", "job_missing", "-o", "json");
    expect(missing).toMatchObject({ code: 3, stdout: "" });
    expect(JSON.parse(missing.stderr)).toMatchObject({ error: { reason: "JOB_NOT_FOUND" } });
  });

  it("exits with 130 on Ctrl-C, once its output is written", async () => {
    const jobId = await submitTasks(fleet.admin, [{ key: "a", capability: "work.nobody" }]);
    const watching = spawn(process.execPath, [program, "jobs", "watch", jobId], {
      env: { ...process.env, ...env() },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(watching, "close");
    // Its first line says that it follows the job.
    await once(watching.stdout, "data");
    watching.kill("SIGINT");
    expect(await ended).toEqual([130, null]);
    await fleet.admin.jobs.cancelJob({ requestId: randomUUID(), jobId });
  });

  it("ends without a word when nobody reads on", async () => {
    const helping = spawn(process.execPath, [program, "--help"], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const ended = once(helping, "close");
    helping.stdout.destroy();
    expect(await text(helping.stderr)).toBe("");
    expect(await ended).toEqual([141, null]);
  });
});

describe("the vault behind the gateway", () => {
  it("encrypts and decrypts by the client, as text and as a stream", async () => {
    const { keys, transit } = fleet.admin;
    const keyName = "e2e-orders";
    const context = { resourceType: "order", resourceId: "7" };
    await keys.createKey({ requestId: "e2e-create-key", name: keyName });
    const plaintext = Buffer.from("a secret");
    const { ciphertext } = await transit.encrypt({ keyName, plaintext, context });
    const opened = await transit.decrypt({ keyName, ciphertext, context });
    expect(Buffer.from(opened.plaintext).toString()).toBe("a secret");
    async function* body() {
      yield { frame: { case: "start", value: { keyName, context } } } as const;
      yield { frame: { case: "chunk", value: Buffer.alloc(100_000) } } as const;
    }
    let bytes = 0;
    for await (const { frame } of transit.encryptStream(body())) {
      if (frame.case === "chunk") bytes += frame.value.byteLength;
    }
    expect(bytes).toBe(56 + 100_000 + 7 * 16);
  });

  it("is sealed and unsealed at its own address, never through the gateway", async () => {
    const { gateway, services } = fleet.stack.info;
    const token = (await fleet.admin.credentials?.token()) ?? "";
    const sealAt = (address: string) => {
      const channel = createRpcChannel({ address });
      return { seal: createRpcClient(SealService, channel), close: () => channel.close() };
    };
    const direct = sealAt(services.vault?.grpc ?? "");
    expect((await direct.seal.getSealStatus({})).sealed).toBe(false);
    expect(await direct.seal.getRootKeyStatus({}, { token })).toMatchObject({
      source: "file",
      staleTenantKeys: 0n,
    });
    direct.close();
    const relayed = sealAt(gateway);
    const rootKey = Buffer.alloc(32);
    for (const call of [
      () => relayed.seal.getSealStatus({}),
      () => relayed.seal.unseal({ rootKey }),
      () => relayed.seal.seal({}, { token }),
    ]) {
      await expect(call()).rejects.toMatchObject({ kind: "unimplemented" });
    }
    relayed.close();
  });
});

describe("buf curl, which speaks as grpcurl does", () => {
  const buf = join(ROOT, "node_modules/.bin/buf");
  const grpc = ["curl", "--http2-prior-knowledge", "--protocol", "grpc"];

  it("lists services and methods by reflection and calls one", async () => {
    const base = `http://${fleet.stack.info.gateway}`;
    const list = await command(buf, [...grpc, "--list-methods", base]);
    expect(list.stdout).toContain("nexus.orchestrator.v1.JobService/SubmitJob");
    expect(list.stdout).not.toContain("DispatchService");
    const login = await command(buf, [
      ...grpc,
      "-d",
      JSON.stringify({ principalId: user.principalId, password: user.password }),
      `${base}/nexus.vault.v1.AuthService/Login`,
    ]);
    const { tokens } = JSON.parse(login.stdout) as { tokens: { accessToken: string } };
    const jobs = await command(buf, [
      ...grpc,
      "-H",
      `authorization: Bearer ${tokens.accessToken}`,
      "-d",
      "{}",
      `${base}/nexus.orchestrator.v1.JobService/ListJobs`,
    ]);
    expect(jobs.code).toBe(0);
  });

  it("finds the health service on every port", async () => {
    for (const { grpc: address } of Object.values(fleet.stack.info.services)) {
      const { stdout } = await command(buf, [
        ...grpc,
        "-d",
        "{}",
        `http://${address}/grpc.health.v1.Health/Check`,
      ]);
      expect(JSON.parse(stdout)).toEqual({ status: "SERVING" });
    }
  });
});

describe("the HTTP port", () => {
  it("answers JSON over plain HTTP under the same rules", async () => {
    const base = fleet.stack.info.http;
    const post = (path: string, body: object, token?: string) =>
      fetch(`${base}/${path}`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        body: JSON.stringify(body),
      });
    const refused = await post("nexus.orchestrator.v1.JobService/ListJobs", {});
    expect(refused.status).toBe(401);
    const login = await post("nexus.vault.v1.AuthService/Login", {
      principalId: user.principalId,
      password: user.password,
    });
    expect(login.status).toBe(200);
    const { tokens } = (await login.json()) as { tokens: { accessToken: string } };
    const token = tokens.accessToken;
    const listed = await post("nexus.orchestrator.v1.JobService/ListJobs", {}, token);
    expect(listed.status).toBe(200);
    const forbidden = await post("nexus.vault.v1.PrincipalService/ListPrincipals", {}, token);
    expect(forbidden.status).toBe(403);
    const invalid = await post("nexus.orchestrator.v1.JobService/SubmitJob", {}, token);
    expect(invalid.status).toBe(400);
    const internal = await post("nexus.registry.v1.OutcomeService/ReportOutcomes", {}, token);
    expect(internal.status).toBe(404);
    const status = await post("nexus.gateway.v1.StatusService/GetStatus", {}, token);
    expect(status.status).toBe(200);
  });

  it("publishes the keys that verify tokens", async () => {
    const response = await fetch(`${fleet.stack.info.http}/.well-known/jwks.json`);
    const { keys } = (await response.json()) as { keys: { kty: string; d?: string }[] };
    expect(response.headers.get("cache-control")).toMatch(/max-age=\d+/);
    expect(keys.length).toBeGreaterThanOrEqual(2);
    for (const key of keys) {
      expect(key.kty).toBe("OKP");
      expect(key.d).toBeUndefined();
    }
  });
});

describe("a second stack", () => {
  it("does not see the first, nor is it seen", async () => {
    const { agents } = await other.admin.registry.listAgents({});
    expect(agents).toEqual([]);
    const tokens = await fleet.admin.credentials?.accessToken();
    const error = await other.admin.jobs
      .listJobs({}, { token: tokens?.value })
      .catch((refusal: unknown) => refusal);
    expect(error).toMatchObject({ kind: "unauthenticated", reason: "TOKEN_INVALID" });
    const jobId = await submitTasks(other.admin, [{ key: "a", capability: "work.echo" }]);
    const { job } = await other.admin.jobs.getJob({ jobId });
    expect(job?.tasks?.ready).toBe(1);
  });

  it("keeps jobs and identities over a stop and a start on the same data", async () => {
    await other.startAgent("echo-1");
    const jobId = await submitTasks(other.admin, [{ key: "a", capability: "work.echo" }]);
    await waitForEnd(other.admin, jobId);
    await other[Symbol.asyncDispose]();
    other = await startFleet({ dataDir, env: shortTokens });
    const { job } = await other.admin.jobs.getJob({ jobId });
    expect(job?.tasks?.succeeded).toBe(1);
    const { agents } = await other.admin.registry.listAgents({});
    expect(agents.map(({ agentId }) => agentId)).toEqual(["echo-1"]);
  });

  it("refuses a token that has expired, and leaves nothing of its call behind", async () => {
    const { jobs: before } = await other.admin.jobs.listJobs({});
    await waitFor(
      async () => {
        const reason = await reasonOf(other.admin.jobs.listJobs({}, { token: firstToken }));
        return reason === "TOKEN_EXPIRED";
      },
      { timeoutMs: 60_000, what: "the token of the first start to expire" },
    );
    const submit = { requestId: randomUUID(), objective: "too late" };
    const error = await other.admin.jobs
      .submitJob(submit, { token: firstToken })
      .catch((refusal: unknown) => refusal);
    expect(error).toMatchObject({ kind: "unauthenticated", reason: "TOKEN_EXPIRED" });
    const { jobs: after } = await other.admin.jobs.listJobs({});
    expect(after.length).toBe(before.length);
  });
});
