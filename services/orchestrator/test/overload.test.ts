import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectError } from "./_expect.ts";
import { type Client, Harness } from "./_harness.ts";
import { silent } from "./_router.ts";

const harness = new Harness();
const LIMITS = { namespaceWaitingTasksMax: 20, waitingTasksMax: 30 };
let other: Client;

beforeAll(async () => {
  await harness.open(LIMITS);
  other = await harness.clientOf("bob", { ns: "other" });
});
afterAll(() => harness.close());

const tasks = (count: number, capability = "none") =>
  Array.from({ length: count }, (_, i) => ({ key: `t${i}`, capability }));

async function submit(client: Client, requestId: string, count: number): Promise<string> {
  const { job } = await client.submitJob({ requestId, tasks: tasks(count) });
  return job?.jobId ?? "";
}

describe("a namespace's cap", () => {
  it("refuses what is beyond it, leaves others their room, and frees it with every end", async () => {
    const chain = await harness.submit({
      tasks: tasks(10).map((task, i) => ({
        ...task,
        dependencies: i === 0 ? [] : [{ taskKey: `t${i - 1}` }],
      })),
    });
    const jobId = await submit(harness.client, "fills", 10);
    const refused = await expectError(submit(harness.client, "over", 1), "exhausted", "QUEUE_FULL");
    expect(refused.message).toContain("of the namespace");
    expect(refused.details.retryAfterMs).toBeGreaterThanOrEqual(100);
    const fills = await submit(other, "others", 10);
    const total = await expectError(submit(other, "total", 1), "exhausted", "QUEUE_FULL");
    expect(total.message).toContain("at most 30");
    // The same request again, once there is room: the refusal left nothing behind.
    await harness.client.cancelJob({ requestId: "c1", jobId });
    await submit(harness.client, "over", 1);
    await harness.client.cancelJob({ requestId: "c2", jobId: chain });
    await submit(harness.client, "again", 19);
    await expectError(submit(harness.client, "full", 1), "exhausted", "QUEUE_FULL");
    await other.cancelJob({ requestId: "c3", jobId: fills });
  });

  it("holds after a restart, for ready and for blocked tasks", async () => {
    const blocked = await other.submitJob({
      requestId: "blocked",
      tasks: tasks(10).map((task, i) => ({
        ...task,
        dependencies: i === 0 ? [] : [{ taskKey: "t0" }],
      })),
    });
    await harness.service[Symbol.asyncDispose]();
    harness.service = await harness.start(LIMITS);
    await waitFor(() => harness.isReady(), { what: "the next orchestrator to own the jobs" });
    const alice = await harness.clientOf("alice");
    const bob = await harness.clientOf("bob", { ns: "other" });
    await expectError(submit(alice, "after", 1), "exhausted", "QUEUE_FULL");
    await expectError(submit(bob, "after", 1), "exhausted", "QUEUE_FULL");
    await bob.cancelJob({ requestId: "c4", jobId: blocked.job?.jobId ?? "" });
    await submit(bob, "after", 10);
    const { jobs } = await alice.listJobs({ states: [JobState.PENDING] });
    for (const { jobId } of jobs) await alice.cancelJob({ requestId: jobId, jobId });
    harness.client = alice;
  });

  it("is freed by leases, and by what is skipped behind a failure", async () => {
    const name = "sour";
    const sour = [
      { key: "root", capability: name, retry: { maxAttempts: 1 } },
      ...tasks(19, name).map((task) => ({ ...task, dependencies: [{ taskKey: "root" }] })),
    ];
    const jobId = await harness.submit({ tasks: sour });
    await expectError(submit(harness.client, "beside", 1), "exhausted", "QUEUE_FULL");
    harness.agent({ agentId: "sour", capabilities: [name], behaviour: silent });
    const received = await waitFor(
      () => harness.router.assignments.find(({ assignment }) => assignment.jobId === jobId),
      { what: "the root's assignment" },
    );
    const one = await submit(harness.client, "beside", 1);
    await expectError(submit(harness.client, "more", 1), "exhausted", "QUEUE_FULL");
    harness.router.fail(received, "NO", { retryable: false });
    await harness.untilState(jobId, JobState.FAILED);
    expect((await harness.tasksOf(jobId))["t0"]?.state).toBe(TaskState.SKIPPED);
    await submit(harness.client, "more", 19);
    await harness.client.cancelJob({ requestId: "c5", jobId: one });
  });
});
