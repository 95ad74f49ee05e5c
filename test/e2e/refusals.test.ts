import { randomUUID } from "node:crypto";
import { DispatchService } from "@nexus/proto/mesh";
import { JobService } from "@nexus/proto/orchestrator";
import { AuthService } from "@nexus/proto/vault";
import { createRpcChannel, createRpcClient, type RpcChannel, rawUnary } from "@nexus/rpc";
import { createClient, PrincipalKind, toTaskSpec } from "@nexus/sdk";
import { NexusError } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { decodeJwt, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startFleet, submitTasks, type TestFleet, type TestUser } from "./_fleet.ts";

let fleet: TestFleet;
let user: TestUser;
let channel: RpcChannel;

beforeAll(async () => {
  fleet = await startFleet();
  user = await fleet.createUser();
  channel = createRpcChannel({ address: fleet.stack.info.gateway });
}, 120_000);

afterAll(async () => {
  channel.close();
  await fleet[Symbol.asyncDispose]();
}, 60_000);

async function refusalOf(promise: Promise<unknown>): Promise<NexusError> {
  const error = await promise.then(
    () => new Error("the call was not refused"),
    (refusal: unknown) => refusal,
  );
  expect(error).toBeInstanceOf(NexusError);
  return error as NexusError;
}

function listJobs(token: string): Promise<unknown> {
  return createRpcClient(JobService, channel).listJobs({}, { token });
}

async function tokenOf(target: TestUser, namespace = ""): Promise<string> {
  const { principalId, password } = target;
  const auth = createRpcClient(AuthService, channel);
  const { tokens } = await auth.login({ namespace, principalId, password });
  return tokens?.accessToken ?? "";
}

describe("the gateway refuses", () => {
  it("a wrong password and an unknown user alike", async () => {
    const auth = createRpcClient(AuthService, channel);
    const wrong = await refusalOf(
      auth.login({ principalId: user.principalId, password: "not this one" }),
    );
    const unknown = await refusalOf(
      auth.login({ principalId: "nobody", password: "not this one" }),
    );
    for (const error of [wrong, unknown]) {
      expect(error).toMatchObject({ kind: "unauthenticated", reason: "CREDENTIALS_INVALID" });
    }
    expect(wrong.message).toBe(unknown.message);
  });

  it("a call without a token", async () => {
    const error = await refusalOf(createRpcClient(JobService, channel).listJobs({}));
    expect(error).toMatchObject({ kind: "unauthenticated", reason: "TOKEN_MISSING" });
  });

  it("a forged token: another key, and a changed claim", async () => {
    const token = await tokenOf(user);
    const [header = "", payload = "", signature = ""] = token.split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as object;
    const raised = Buffer.from(JSON.stringify({ ...claims, scope: "*" })).toString("base64url");
    const changed = await refusalOf(listJobs(`${header}.${raised}.${signature}`));
    expect(changed).toMatchObject({ kind: "unauthenticated", reason: "TOKEN_INVALID" });

    const { privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519" });
    const known = JSON.parse(Buffer.from(header, "base64url").toString()) as { kid: string };
    const forged = await new SignJWT({ ...claims })
      .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid: known.kid })
      .sign(privateKey);
    const error = await refusalOf(listJobs(forged));
    expect(error).toMatchObject({ kind: "unauthenticated", reason: "TOKEN_INVALID" });
  });

  it.each(["token", "family", "principal", "namespace", "role"] as const)(
    "a token revoked by its %s, in every service, within a second",
    async (target) => {
      // Each attempt has to end in refusals everywhere; one of three has to be in time, on a machine that does much else.
      const took: number[] = [];
      while (took.length < 3 && took.every((ms) => ms >= REVOCATION_MS)) {
        took.push(await revokeEverywhere(target));
      }
      expect(Math.min(...took)).toBeLessThan(REVOCATION_MS);
    },
  );

  it("a call beyond the token's scopes, naming the scope", async () => {
    const reader = await fleet.createUser({ scopes: ["registry:agent:read"] });
    const error = await refusalOf(
      reader.client.jobs.submitJob({ requestId: randomUUID(), objective: "anything" }),
    );
    expect(error).toMatchObject({ kind: "forbidden", reason: "SCOPE_MISSING" });
    expect(error.details.metadata?.["required_scope"]).toBe("orchestrator:job:submit");
  });

  it("another namespace's job, as if it did not exist", async () => {
    const jobId = await submitTasks(user.client, [{ key: "a", capability: "work.nobody" }]);
    const stranger = await fleet.createUser({ namespace: "elsewhere" });
    const refusals = await Promise.all([
      refusalOf(stranger.client.jobs.getJob({ jobId })),
      refusalOf(stranger.client.jobs.listTasks({ jobId })),
      refusalOf(stranger.client.jobs.cancelJob({ requestId: randomUUID(), jobId })),
    ]);
    for (const refusal of refusals) {
      expect(refusal).toMatchObject({ kind: "not_found", reason: "JOB_NOT_FOUND" });
    }
    const { jobs } = await stranger.client.jobs.listJobs({});
    expect(jobs).toEqual([]);
    const { job } = await user.client.jobs.getJob({ jobId });
    expect(job?.endTime).toBeUndefined();
  });

  it("internal contracts, as if they did not exist", async () => {
    const token = await tokenOf(user);
    const path = `/${DispatchService.typeName}/Dispatch`;
    const error = await refusalOf(rawUnary(channel, path, Buffer.alloc(0), { token }));
    expect(error.kind).toBe("unimplemented");
  });

  it("a malformed, an invalid and an oversized request, and nothing is left behind", async () => {
    const token = await tokenOf(user);
    const before = await user.client.jobs.listJobs({});
    const path = `/${JobService.typeName}/SubmitJob`;
    const garbage = Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    const malformed = await refusalOf(rawUnary(channel, path, garbage, { token }));
    expect(malformed.kind).toBe("invalid");

    const invalid = await refusalOf(
      user.client.jobs.submitJob({ requestId: "", objective: "x", priority: 101 }),
    );
    expect(invalid.kind).toBe("invalid");
    expect(invalid.details.fieldViolations?.map(({ field }) => field).sort()).toEqual([
      "priority",
      "request_id",
    ]);

    const oversized = await refusalOf(rawUnary(channel, path, Buffer.alloc(5_000_000), { token }));
    expect(oversized.kind).toBe("exhausted");
    const after = await user.client.jobs.listJobs({});
    expect(after.jobs.length).toBe(before.jobs.length);
  });

  it("a graph with a cycle, naming the task", async () => {
    const error = await refusalOf(
      user.client.jobs.submitJob({
        requestId: randomUUID(),
        tasks: [
          { key: "a", capability: "work.echo", dependencies: [{ taskKey: "b" }] },
          { key: "b", capability: "work.echo", dependencies: [{ taskKey: "a" }] },
        ].map(toTaskSpec),
      }),
    );
    expect(error.kind).toBe("invalid");
    expect(JSON.stringify(error.details.fieldViolations) + error.reason).toContain("GRAPH_CYCLE");
  });

  it("the same request id with another body, and repeats the answer for the same one", async () => {
    const requestId = randomUUID();
    const request = { requestId, tasks: [toTaskSpec({ key: "a", capability: "work.nobody" })] };
    const first = await user.client.jobs.submitJob(request);
    const again = await user.client.jobs.submitJob(request);
    expect(again.job?.jobId).toBe(first.job?.jobId);
    const other = { requestId, tasks: [toTaskSpec({ key: "b", capability: "work.nobody" })] };
    const error = await refusalOf(user.client.jobs.submitJob(other));
    expect(error).toMatchObject({ kind: "conflict", reason: "REQUEST_ID_REUSED" });
  });

  it("an agent that claims another one's id", async () => {
    const identity = await fleet.createAgentIdentity("honest-1");
    const client = createClient({
      gateway: fleet.stack.info.gateway,
      credentials: {
        kind: "client-secret",
        principalId: identity.agentId,
        clientSecret: identity.clientSecret,
      },
    });
    const error = await refusalOf(
      client.registry.registerAgent({
        requestId: randomUUID(),
        agentId: "somebody-else",
        capabilities: [{ name: "work.echo", version: "1.0.0" }],
      }),
    );
    expect(error).toMatchObject({ kind: "forbidden", reason: "AGENT_ID_MISMATCH" });
    client.close();
  });
});

const REVOCATION_MS = 1000;

/** Any call will do: the token is looked at before the method. */
const ANY_CALL = {
  gateway: "/nexus.orchestrator.v1.JobService/ListJobs",
  orchestrator: "/nexus.orchestrator.v1.JobService/ListJobs",
  registry: "/nexus.registry.v1.RegistryService/ListAgents",
  insight: "/nexus.insight.v1.AnalyticsService/ListAgentPerformance",
  "mesh-router": "/nexus.mesh.v1.MessagingService/SendMessage",
  vault: "/nexus.vault.v1.AuthService/WhoAmI",
} as const;

/** The reason with which each service refuses the token; the services are asked past the gateway. */
function reasonsOf(token: string): Promise<string[]> {
  return Promise.all(
    Object.entries(ANY_CALL).map(async ([name, path]) => {
      const { services } = fleet.stack.info;
      const direct = createRpcChannel({ address: services[name as keyof typeof ANY_CALL].grpc });
      const reason = await rawUnary(direct, path, Buffer.alloc(0), { token }).then(
        () => "",
        (error: unknown) => NexusError.from(error).reason,
      );
      direct.close();
      return reason;
    }),
  );
}

type Way = "token" | "family" | "principal" | "namespace" | "role";

/** Revokes a token that every service has seen, and returns how long the last service took to refuse it. */
async function revokeEverywhere(kind: Way): Promise<number> {
  const namespace = `tenant-${randomUUID().slice(0, 8)}`;
  const admin = await fleet.createUser({ namespace, scopes: ["*"] });
  if (kind === "role") return takeFromRole(admin);
  const token = await tokenOf(admin, namespace);
  const before = await reasonsOf(token);
  expect(before.filter((reason) => reason.startsWith("TOKEN_"))).toEqual([]);
  const claims = decodeJwt(token);
  const target = {
    token: { case: "tokenId", value: String(claims.jti) },
    family: { case: "familyId", value: String(claims["fam"]) },
    principal: { case: "principalId", value: admin.principalId },
    namespace: { case: "wholeNamespace", value: namespace },
  } as const;
  const auth = createRpcClient(AuthService, channel);
  await auth.revokeTokens({ requestId: randomUUID(), target: target[kind] }, { token });
  return untilRefusedEverywhere(token);
}

/** Takes a scope from a role whose holder has a token. */
async function takeFromRole({ client }: TestUser): Promise<number> {
  const put = (scopes: string[]) =>
    client.access.putRole({ requestId: randomUUID(), name: "worker", scopes });
  await put(["orchestrator:job:read", "registry:agent:read"]);
  const { clientSecret } = await client.principals.createPrincipal({
    requestId: randomUUID(),
    principalId: "holder",
    kind: PrincipalKind.AGENT,
    roles: ["worker"],
  });
  const { principal } = await client.auth.whoAmI({});
  const { tokens } = await client.auth.grantClientToken({
    namespace: principal?.namespace ?? "",
    principalId: "holder",
    clientSecret,
  });
  const token = tokens?.accessToken ?? "";
  const before = await reasonsOf(token);
  expect(before.filter((reason) => reason.startsWith("TOKEN_"))).toEqual([]);
  await put(["registry:agent:read"]);
  return untilRefusedEverywhere(token);
}

async function untilRefusedEverywhere(token: string): Promise<number> {
  const startedAtMs = performance.now();
  await waitFor(
    async () => (await reasonsOf(token)).every((reason) => reason === "TOKEN_REVOKED"),
    { timeoutMs: 10_000, what: "the revocation to arrive everywhere" },
  );
  return performance.now() - startedAtMs;
}
