import { durationMs } from "@bufbuild/protobuf/wkt";
import { SessionState } from "@nexus/proto/mesh";
import { JobState, LeaseService, type LeaseVerdict } from "@nexus/proto/orchestrator";
import { createRpcChannel, createRpcClient, type RpcChannel, type RpcClient } from "@nexus/rpc";
import type { RunningService } from "@nexus/runtime";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectError } from "./_expect.ts";
import { Harness } from "./_harness.ts";
import { begin, echo, type Received } from "./_router.ts";

const harness = new Harness();
const channels: RpcChannel[] = [];
let leases: RpcClient<typeof LeaseService>;

beforeAll(async () => {
  await harness.open();
  leases = leaseClient({ sub: "mesh-router", kind: "service" });
});
afterAll(async () => {
  for (const channel of channels) channel.close();
  await harness.close();
});

function leaseClient(
  identity: Parameters<typeof harness.identity.tokens>[0],
  service: RunningService = harness.service,
): RpcClient<typeof LeaseService> {
  const channel = createRpcChannel({ address: service.address });
  channels.push(channel);
  return createRpcClient(LeaseService, channel, { tokens: harness.identity.tokens(identity) });
}

function claimOf({ agentId, assignment }: Received) {
  const { taskId, fence } = assignment;
  return { namespace: "default", taskId, fence, agentId };
}

async function check(
  claim: ReturnType<typeof claimOf>,
  client = leases,
): Promise<LeaseVerdict | undefined> {
  return (await client.check({ claims: [claim] })).verdicts[0];
}

function cacheMs(verdict: LeaseVerdict | undefined): number {
  return verdict?.cacheFor === undefined ? -1 : durationMs(verdict.cacheFor);
}

describe("LeaseService.check", () => {
  it("believes the holder, and nobody else, in the order of the claims", async () => {
    harness.agent({ agentId: "holder", capabilities: ["hold"], behaviour: begin });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "hold" }] });
    const claim = claimOf(await harness.assignmentOf(jobId));
    const { verdicts } = await leases.check({
      claims: [
        { ...claim, agentId: "thief" },
        claim,
        { ...claim, namespace: "other" },
        { ...claim, agentId: "" },
        { ...claim, taskId: "task_0000000000000000000000000000dead" },
        { ...claim, taskId: "no id at all" },
        { ...claim, fence: claim.fence + 1_000_000n },
      ],
    });
    const held = { valid: true, reason: "", agentId: "holder", jobId };
    expect(verdicts).toMatchObject([
      { valid: false, reason: "NOT_HOLDER", agentId: "", jobId: "" },
      held,
      { valid: false, reason: "TASK_NOT_FOUND", agentId: "", jobId: "" },
      held,
      { valid: false, reason: "TASK_NOT_FOUND" },
      { valid: false, reason: "TASK_NOT_FOUND" },
      { valid: false, reason: "LEASE_LOST" },
    ]);
    expect(cacheMs(verdicts[1])).toBe(1_000);
    // A fence that nobody holds yet may be the next one.
    expect(cacheMs(verdicts[6])).toBe(0);
  });

  it("lets no answer be kept beyond the lease", async () => {
    harness.agent({ agentId: "brief", capabilities: ["brief"], behaviour: begin });
    const startToCloseTimeout = { nanos: 900_000_000 };
    const jobId = await harness.submit({
      tasks: [{ key: "a", capability: "brief", startToCloseTimeout, retry: { maxAttempts: 1 } }],
    });
    const claim = claimOf(await harness.assignmentOf(jobId));
    const verdict = await check(claim);
    expect(verdict?.valid).toBe(true);
    expect(cacheMs(verdict)).toBeLessThanOrEqual(900);
    await harness.untilState(jobId, JobState.FAILED);
    expect(await check(claim)).toMatchObject({ valid: false, reason: "LEASE_LOST" });
  });

  it("takes a lease for lost once it ended, its session is gone, or another one follows", async () => {
    harness.agent({ agentId: "first", capabilities: ["follow"], behaviour: begin });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "follow" }] });
    const first = claimOf(await harness.assignmentOf(jobId));
    expect(await check(first)).toMatchObject({ valid: true });
    harness.router.setState("first", SessionState.LOST);
    await waitFor(async () => (await check(first))?.valid === false, { what: "the loss" });
    harness.agent({ agentId: "second", capabilities: ["follow"], behaviour: echo });
    const second = claimOf(await harness.assignmentOf(jobId, 2));
    expect(second.fence).toBeGreaterThan(first.fence);
    await harness.untilState(jobId, JobState.COMPLETED);
    for (const claim of [first, second]) {
      const verdict = await check(claim);
      expect(verdict).toMatchObject({ valid: false, reason: "LEASE_LOST" });
      expect(cacheMs(verdict)).toBe(60_000);
    }
  });

  it("is answered alike by every replica, whoever owns the lease", async () => {
    harness.agent({ agentId: "stored", capabilities: ["stored"], behaviour: begin });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "stored" }] });
    const received = await harness.assignmentOf(jobId);
    const claim = claimOf(received);
    const replica = await harness.start();
    const other = leaseClient({ sub: "vault", kind: "service" }, replica);
    const verdict = await check(claim, other);
    expect(verdict).toMatchObject({ valid: true, agentId: "stored", jobId });
    expect(cacheMs(verdict)).toBe(1_000);
    expect(await check({ ...claim, agentId: "thief" }, other)).toMatchObject({
      reason: "NOT_HOLDER",
    });
    // Shards move meanwhile; an agent says its last word until it is answered.
    await waitFor(
      async () => {
        harness.router.complete(received, "done");
        return (await harness.client.getJob({ jobId })).job?.state === JobState.COMPLETED;
      },
      { what: "the job to end" },
    );
    expect(await check(claim, other)).toMatchObject({ valid: false, reason: "LEASE_LOST" });
  });

  it("serves services with the scope, and nobody else", async () => {
    const claim = { namespace: "default", taskId: "task_1", fence: 1n };
    const user = leaseClient({ sub: "alice" });
    await expectError(user.check({ claims: [claim] }), "forbidden", "SERVICE_ONLY");
    const scopes = ["orchestrator:job:read"];
    const poor = leaseClient({ sub: "insight", kind: "service", scopes });
    await expectError(poor.check({ claims: [claim] }), "forbidden", "SCOPE_MISSING");
  });

  it("refuses an empty batch, and one above the limit", async () => {
    const claim = { namespace: "default", taskId: "task_1", fence: 1n };
    const many = Array.from({ length: 513 }, () => claim);
    for (const claims of [[], many, [{ ...claim, fence: 0n }]]) {
      await expectError(leases.check({ claims }), "invalid", "REQUEST_INVALID");
    }
  });
});
