import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Harness, textOf } from "./_harness.ts";
import { type Behaviour, echo, type Received, silent } from "./_router.ts";

const harness = new Harness();
beforeAll(() => harness.open());
afterAll(() => harness.close());

function after(...keys: string[]) {
  return keys.map((taskKey) => ({ taskKey }));
}

describe("a graph", () => {
  it("unblocks a child once, when its parents end in one batch", async () => {
    const held: Received[] = [];
    harness.agent({
      agentId: "diamond",
      capabilities: ["diamond"],
      slots: 20,
      behaviour: (received, router) => {
        if (received.assignment.taskKey.startsWith("parent")) held.push(received);
        else echo(received, router);
      },
    });
    const parents = Array.from({ length: 12 }, (_, i) => `parent-${i}`);
    const jobId = await harness.submit({
      tasks: [
        ...parents.map((key) => ({ key, capability: "diamond" })),
        { key: "child", capability: "diamond", dependencies: after(...parents) },
        { key: "pair", capability: "diamond", dependencies: after("parent-0", "parent-1") },
      ],
    });
    await waitFor(() => held.length === 12, { what: "all parents to run" });
    // One frame, so one batch: each child loses several parents at once.
    for (const received of held) harness.router.complete(received, "done");
    await harness.untilState(jobId, JobState.COMPLETED);
    const runs = harness.router.assignments.filter((item) => item.assignment.jobId === jobId);
    expect(runs).toHaveLength(14);
    const { rows } = await harness.db.query(
      "SELECT pending FROM task_states JOIN tasks USING (task_id) WHERE task_key IN ('child', 'pair')",
    );
    expect(rows).toEqual([{ pending: 0 }, { pending: 0 }]);
  });

  it("skips everything behind a failure, lets siblings go on, and fails when all is done", async () => {
    const failing: Behaviour = (received, router) => {
      const { taskKey } = received.assignment;
      if (taskKey === "bad") router.fail(received, "BAD_INPUT", { retryable: false });
      else if (taskKey === "sibling") siblings.push(received);
      else echo(received, router);
    };
    const siblings: Received[] = [];
    harness.agent({ agentId: "mixed", capabilities: ["mixed"], behaviour: failing });
    const jobId = await harness.submit({
      tasks: [
        { key: "bad", capability: "mixed" },
        { key: "sibling", capability: "mixed" },
        { key: "next", capability: "mixed", dependencies: after("bad") },
        { key: "far", capability: "mixed", dependencies: after("next", "sibling") },
        { key: "heir", capability: "mixed", dependencies: after("sibling") },
      ],
    });
    const skipped = await waitFor(
      async () => {
        const tasks = await harness.tasksOf(jobId);
        return tasks["far"]?.state === TaskState.SKIPPED ? tasks : undefined;
      },
      { what: "the skip" },
    );
    for (const key of ["next", "far"]) {
      expect(skipped[key]?.failure).toMatchObject({ reason: "UPSTREAM_FAILED", taskKey: "bad" });
    }
    expect((await harness.client.getJob({ jobId })).job?.state).toBe(JobState.RUNNING);
    const sibling = await waitFor(() => siblings[0], { what: "the sibling" });
    harness.router.complete(sibling, "fine");
    const job = await harness.untilState(jobId, JobState.FAILED);
    expect(job.tasks).toMatchObject({ total: 5, failed: 1, skipped: 2, succeeded: 2 });
    expect(job.failure).toMatchObject({ reason: "BAD_INPUT", taskKey: "bad" });
    expect(job.results).toEqual({});
  });

  it("passes no more upstream output than the limit, and fails the task instead", async () => {
    const half = "x".repeat(250 * 1024);
    harness.agent({
      agentId: "bulky",
      capabilities: ["bulky"],
      slots: 20,
      behaviour: (received, router) => router.complete(received, half),
    });
    const parents = Array.from({ length: 9 }, (_, i) => `p${i}`);
    const dependencies = parents.map((taskKey) => ({ taskKey, inputName: taskKey }));
    const jobId = await harness.submit({
      tasks: [
        ...parents.map((key) => ({ key, capability: "bulky" })),
        { key: "sum", capability: "bulky", dependencies },
        { key: "few", capability: "bulky", dependencies: dependencies.slice(0, 8) },
      ],
    });
    const job = await harness.untilState(jobId, JobState.FAILED);
    expect(job.failure).toMatchObject({ reason: "INPUT_TOO_LARGE", taskKey: "sum" });
    const few = harness.router.assignments.find((item) => item.assignment.taskKey === "few");
    expect(Object.keys(few?.assignment.upstream ?? {})).toHaveLength(8);
  });

  it("leaves results out that together exceed their limit", async () => {
    const jobId = await harness.submit({
      tasks: Array.from({ length: 5 }, (_, i) => ({ key: `r${i}`, capability: "bulky" })),
    });
    const job = await harness.untilState(jobId, JobState.COMPLETED);
    expect(job.results).toEqual({});
    const { r0 } = await harness.tasksOf(jobId);
    const { task } = await harness.client.getTask({ taskId: r0?.taskId ?? "" });
    expect(textOf(task?.output)).toHaveLength(250 * 1024);
  });

  it("runs higher priorities first", async () => {
    const jobIds: string[] = [];
    const tasks = (priority: number) => [{ key: "a", capability: "one-by-one", priority }];
    for (const priority of [0, 10, -10]) {
      jobIds.push(await harness.submit({ tasks: tasks(priority) }));
    }
    jobIds.push(await harness.submit({ tasks: tasks(5), priority: 50 }));
    harness.agent({ agentId: "single", capabilities: ["one-by-one"], slots: 1 });
    for (const jobId of jobIds) await harness.untilState(jobId, JobState.COMPLETED);
    const order = harness.router.assignments
      .filter((item) => item.agentId === "single")
      .map((item) => jobIds.indexOf(item.assignment.jobId));
    expect(order).toEqual([3, 1, 0, 2]);
  });

  it("never gives an agent more than its slots or the bulkhead allow", async () => {
    harness.agent({ agentId: "narrow", capabilities: ["narrow"], slots: 3, behaviour: silent });
    harness.agent({ agentId: "wide", capabilities: ["wide"], slots: 100, behaviour: silent });
    const tasks = Array.from({ length: 30 }, (_, i) => [
      { key: `n${i}`, capability: "narrow" },
      { key: `w${i}`, capability: "wide" },
    ]).flat();
    const jobId = await harness.submit({ tasks });
    await waitFor(async () => (await harness.client.getJob({ jobId })).job?.tasks?.active === 23, {
      what: "3 and 20 leases",
    });
    const w29 = (await harness.tasksOf(jobId))["w29"];
    const { now } = await harness.client.explainTask({ taskId: w29?.taskId ?? "" });
    expect(now?.rejections).toContainEqual(
      expect.objectContaining({ agentId: "wide", reason: "BULKHEAD_FULL" }),
    );
    expect(await harness.count(`leases WHERE agent_id = 'wide'`)).toBe(20);
    expect(await harness.count(`leases WHERE agent_id = 'narrow'`)).toBe(3);
    await harness.client.cancelJob({ requestId: jobId, jobId });
  });
});
