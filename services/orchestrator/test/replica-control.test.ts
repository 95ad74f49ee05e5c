import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { createIds } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { shardOf } from "../src/domain/shards.ts";
import { type Client, Harness, STEADY_LEASE_MS } from "./_harness.ts";

const ids = createIds();
const JOBS = 12;
const harness = new Harness();
let other: Client;

/** With two replicas, some of the jobs are the other one's, whichever is called. */
beforeAll(async () => {
  await harness.open({ leaseMs: STEADY_LEASE_MS });
});
afterAll(() => harness.close());

async function submitMany(): Promise<string[]> {
  const jobIds: string[] = [];
  for (let i = 0; i < JOBS; i += 1) {
    jobIds.push(await harness.submit({ tasks: [{ key: "only", capability: "later" }] }));
  }
  return jobIds;
}

async function untilShared(): Promise<void> {
  await waitFor(
    async () => (await harness.count("shard_owners WHERE owner IS NOT NULL GROUP BY owner")) === 32,
    { what: "even shares" },
  );
}

describe("two replicas", () => {
  it("leave a paused job paused as it moves, and serve its control wherever it is asked for", async () => {
    const jobIds = await submitMany();
    for (const jobId of jobIds) {
      const { job } = await harness.client.pauseJob({ requestId: ids.next(), jobId });
      expect(job?.state).toBe(JobState.PAUSED);
    }
    const service = await harness.start({ leaseMs: STEADY_LEASE_MS });
    other = await harness.clientOf("alice", { service });
    await waitFor(() => harness.isReady(service), { what: "the second replica" });
    await untilShared();
    const marker = await harness.submit({ tasks: [{ key: "only", capability: "later" }] });
    harness.agent({ agentId: "late", capabilities: ["later"], slots: 20 });
    await harness.untilState(marker, JobState.COMPLETED);
    for (const jobId of jobIds) {
      expect((await harness.tasksOf(jobId))["only"]?.state).toBe(TaskState.READY);
    }
    for (const jobId of jobIds) {
      const { job } = await other.resumeJob({ requestId: ids.next(), jobId });
      expect(job?.state).toBe(JobState.PENDING);
    }
    for (const jobId of jobIds) await harness.untilState(jobId, JobState.COMPLETED);
    for (const client of [harness.client, other]) {
      for (const jobId of jobIds) {
        const requestId = ids.next();
        const { job } = await client.replayJob({ requestId, jobId, taskKey: "only" });
        const nextId = job?.jobId ?? "";
        expect(shardOf(nextId)).toBe(shardOf(jobId));
        await harness.untilState(nextId, JobState.COMPLETED);
      }
    }
    expect(await harness.count("ready")).toBe(0);
    expect(await harness.count("paused_ready")).toBe(0);
  });
});
