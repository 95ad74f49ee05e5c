/** Secrets that are read in the name of a task. */
import { freePort, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Agent,
  createAgent,
  createFleet,
  createUser,
  type Fleet,
  KEY,
  login,
  outcome,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";
import { startOrchestrator, type TestOrchestrator } from "./_orchestrator.ts";
import { freshPath, put } from "./_secrets.ts";

let fleet: Fleet;
let vault: Replica;
let admin: Session;
let agent: Agent;
let port: number;
let orchestrator: TestOrchestrator;

const SCOPES = ["vault:secret:read", "secret:app:read"];
const TASK = { taskId: "task_1", fence: 7n };

beforeAll(async () => {
  port = await freePort();
  fleet = await createFleet();
  // Nothing listens there yet: vault starts first.
  vault = await fleet.start({ orchestratorAddress: `127.0.0.1:${port}` });
  admin = await login(vault);
  agent = await createAgent(vault, admin, { scopes: SCOPES });
});

afterAll(async () => {
  await orchestrator.close();
  await fleet.close();
});

const read = (path: string, task?: typeof TASK, caller: Session = agent) =>
  vault.secrets.getSecret({ path, ...(task === undefined ? {} : { task }) }, caller);

/** How a lease ends, which the client does not repeat by itself; the contract promises two seconds. */
async function leaseInTime(path: string): Promise<string> {
  const startedMs = performance.now();
  const request = { requestId: requestId(), path, task: TASK };
  const ended = await outcome(vault.secrets.leaseSecret(request, agent));
  expect(performance.now() - startedMs).toBeLessThan(5_000);
  return ended;
}

describe("a read in the name of a task", () => {
  it("is refused in time while the orchestrator cannot be asked, and goes on when it is there", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    expect(await leaseInTime(path)).toBe("unavailable/LEASE_UNVERIFIED");
    expect(await outcome(read(path, TASK))).toBe("unavailable/LEASE_UNVERIFIED");
    // A read for no task needs nobody.
    expect(await outcome(read(path))).toBe("ok");
    orchestrator = await startOrchestrator(port, vault);
    orchestrator.holders.set("task_1/7", agent.principalId);
    await waitFor(async () => (await outcome(read(path, TASK))) === "ok", {
      what: "vault to reach the orchestrator",
    });
    orchestrator.silent = true;
    expect(await leaseInTime(path)).toBe("unavailable/LEASE_UNVERIFIED");
    orchestrator.silent = false;
  });

  it("returns the value to the holder, and to nobody else", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    expect(Buffer.from((await read(path, TASK)).value).toString()).toBe("a secret");
    expect(orchestrator.claims.at(-1)).toMatchObject({
      ...TASK,
      namespace: "default",
      agentId: agent.principalId,
    });
    const lost = "conflict/LEASE_LOST";
    expect(await outcome(read(path, { ...TASK, fence: 6n }))).toBe(lost);
    expect(await outcome(read(path, { ...TASK, taskId: "task_2" }))).toBe(lost);
    const thief = await createAgent(vault, admin, { scopes: SCOPES });
    expect(await outcome(read(path, TASK, thief))).toBe(lost);
    expect(await outcome(read(path, TASK, admin))).toBe(lost);
  });

  it("is refused at once when the task was lost, whether the secret is there or not", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    orchestrator.holders.set("task_3/9", agent.principalId);
    const task = { taskId: "task_3", fence: 9n };
    expect(await outcome(read(path, task))).toBe("ok");
    orchestrator.holders.delete("task_3/9");
    expect(await outcome(read(path, task))).toBe("conflict/LEASE_LOST");
    expect(await outcome(read(freshPath(), task))).toBe("conflict/LEASE_LOST");
    const lease = { requestId: requestId(), path, task };
    expect(await outcome(vault.secrets.leaseSecret(lease, agent))).toBe("conflict/LEASE_LOST");
  });

  it("asks nobody for what the caller may not read", async () => {
    const before = orchestrator.claims.length;
    expect(await outcome(read("payroll/x", TASK))).toBe("forbidden/SECRET_FORBIDDEN");
    expect(orchestrator.claims.length).toBe(before);
  });
});

describe("a secret for tasks only", () => {
  it("is returned to an agent that names its task, and to a user", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    const settings = { requestId: requestId(), path, taskRequired: true };
    const { secret } = await vault.secrets.updateSecretMetadata(settings, admin);
    expect(secret?.taskRequired).toBe(true);
    const required = "forbidden/SECRET_TASK_REQUIRED";
    expect(await outcome(read(path))).toBe(required);
    const lease = { requestId: requestId(), path };
    expect(await outcome(vault.secrets.leaseSecret(lease, agent))).toBe(required);
    const { leases } = await vault.secrets.listSecretLeases({ prefix: path }, admin);
    expect(leases).toEqual([]);
    expect(await outcome(read(path, TASK))).toBe("ok");
    const user = await createUser(vault, admin, { scopes: SCOPES });
    expect(await outcome(read(path, undefined, user))).toBe("ok");
  });

  it("is one from its first put on when that says so, until a put or its settings say otherwise", async () => {
    const path = freshPath();
    const required = "forbidden/SECRET_TASK_REQUIRED";
    await put(vault, admin, path, { taskRequired: true });
    expect(await outcome(read(path))).toBe(required);
    // A put that says nothing of it leaves it as it is.
    await put(vault, admin, path, { text: "the next" });
    expect(await outcome(read(path))).toBe(required);
    await put(vault, admin, path, { text: "the last", taskRequired: false });
    expect(Buffer.from((await read(path)).value).toString()).toBe("the last");
  });

  it("stays what it was when the put is refused", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    const refused = put(vault, admin, path, { taskRequired: true, expectedVersion: 7 });
    expect(await outcome(refused)).toBe("conflict/SECRET_VERSION_MISMATCH");
    expect(await outcome(read(path))).toBe("ok");
  });
});

describe("a lease that was taken for a task", () => {
  it("is renewed only while its holder holds the task", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    orchestrator.holders.set("task_4/1", agent.principalId);
    const task = { taskId: "task_4", fence: 1n };
    const { lease, value } = await vault.secrets.leaseSecret(
      { requestId: requestId(), path, task },
      agent,
    );
    expect(Buffer.from(value).toString()).toBe("a secret");
    expect(lease?.task).toMatchObject(task);
    const renew = () => vault.secrets.renewSecretLease({ leaseId: lease?.leaseId ?? "" }, agent);
    expect((await renew()).lease?.task).toMatchObject(task);
    orchestrator.holders.delete("task_4/1");
    expect(await outcome(renew())).toBe("conflict/LEASE_LOST");
  });
});

describe("a sealed vault", () => {
  it("says that it is sealed, though it has no token to ask the orchestrator with", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    // Its own token is not made yet.
    const fresh = await fleet.start({ orchestratorAddress: `127.0.0.1:${port}` });
    await fresh.seal.seal({}, admin);
    const request = { path, task: { taskId: "task_5", fence: 1n } };
    expect(await outcome(fresh.secrets.getSecret(request, agent))).toBe(
      "precondition/VAULT_SEALED",
    );
    await fresh.seal.unseal({ rootKey: Buffer.from(KEY, "base64") });
    await fresh.stop();
  });
});
