import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jobUuid } from "../src/store/row-ids.ts";
import { Harness } from "./_harness.ts";
import { echo } from "./_router.ts";

const harness = new Harness();
beforeAll(() => harness.open());
afterAll(() => harness.close());

/** Tasks that wait in memory. */
async function countWaiting(): Promise<number> {
  const response = await fetch(`http://${harness.service.opsAddress}/metrics`);
  const found = /^nexus_orchestrator_tasks_ready (\d+)$/m.exec(await response.text());
  return Number(found?.[1]);
}

/** The audit comes around in its own time. */
async function untilCompleted(jobId: string): Promise<void> {
  const completed = async () =>
    (await harness.client.getJob({ jobId })).job?.state === JobState.COMPLETED;
  await waitFor(completed, { what: "the job to end", timeoutMs: 30_000 });
}

describe("a task that waits since it was made", () => {
  it("has no row but its own, and is READY to whoever asks", async () => {
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "nobody" }] });
    expect(await harness.count("task_states")).toBe(0);
    const [listed] = (await harness.client.listTasks({ jobId, states: [TaskState.READY] })).tasks;
    expect(listed).toMatchObject({ state: TaskState.READY, attempts: 0, agentId: "" });
    expect(listed?.readyTime).toEqual(listed?.createTime);
    const taskId = listed?.taskId ?? "";
    expect((await harness.client.getTask({ taskId })).task).toMatchObject({
      state: TaskState.READY,
    });
    expect((await harness.client.searchTasks({ states: [TaskState.READY] })).tasks).toHaveLength(1);
    expect((await harness.client.searchTasks({ states: [TaskState.BLOCKED] })).tasks).toEqual([]);
    expect((await harness.client.explainTask({ taskId })).attempts).toEqual([]);
    const { job } = await harness.client.cancelJob({ requestId: jobId, jobId });
    expect(job).toMatchObject({ state: JobState.CANCELLED, tasks: { cancelled: 1, ready: 0 } });
    expect(await harness.count("task_states WHERE state = 'CANCELLED'")).toBe(1);
  });

  it("is loaded by the next owner, as many as there are", async () => {
    const many = Array.from({ length: 30 }, (_, i) => ({ key: `t${i}`, capability: "late" }));
    const jobs = [await harness.submit({ tasks: many }), await harness.submit({ tasks: many })];
    await harness.service[Symbol.asyncDispose]();
    harness.service = await harness.start();
    harness.client = await harness.clientOf("alice");
    await waitFor(() => harness.isReady(), { what: "the new orchestrator to own" });
    expect(await countWaiting()).toBe(60);
    harness.agent({ agentId: "late", capabilities: ["late"], behaviour: echo });
    for (const jobId of jobs) await harness.untilState(jobId, JobState.COMPLETED);
    expect(await harness.count("ready")).toBe(0);
  });
});

describe("a task that waits as stored and that memory does not know", () => {
  it("is found by the audit and runs", async () => {
    harness.agent({ agentId: "finder", capabilities: ["found"], behaviour: echo });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "nobody-yet" }] });
    const uuid = jobId.slice(jobId.indexOf("_") + 1);
    // Of the same shard, as the last two digits say.
    const lost = `${"0".repeat(30)}${uuid.slice(-2)}`;
    await harness.db.query(`
      WITH counted AS (UPDATE jobs SET total = 2, ready = 2 WHERE job_id = '${uuid}')
      INSERT INTO tasks (task_id, job_id, shard, namespace, ordinal, task_key, capability, priority, planning, sink,
                         has_upstream, spec)
      SELECT '${lost}', job_id, shard, namespace, 1, 'lost', 'found', 0, false, true, false,
             spec::jsonb || '{"key":"lost","capability":"found"}'
        FROM tasks WHERE job_id = '${uuid}'`);
    await waitFor(
      async () => (await harness.tasksOf(jobId))["lost"]?.state === TaskState.SUCCEEDED,
      {
        what: "the lost task to run",
        timeoutMs: 30_000,
      },
    );
    await harness.client.cancelJob({ requestId: jobId, jobId });
  });
});

describe("a task that waits in memory and not as stored", () => {
  it("has memory read anew when its time is over", async () => {
    const scheduleToStartTimeout = { nanos: 300_000_000 };
    const ghost = { key: "a", capability: "nobody-has-it", scheduleToStartTimeout };
    const jobId = await harness.submit({ tasks: [ghost] });
    const { a } = await harness.tasksOf(jobId);
    expect(await countWaiting()).toBe(1);
    const uuidOf = (id = "") => id.slice(id.indexOf("_") + 1);
    await harness.db.query(`
      WITH counted AS (
        UPDATE jobs SET ready = 0, cancelled = 1, state = 'CANCELLED', ended_at = now() WHERE job_id = '${uuidOf(jobId)}')
      INSERT INTO task_states (task_id, job_id, state, pending, ended_at)
      SELECT task_id, job_id, 'CANCELLED', 0, now() FROM tasks WHERE task_id = '${uuidOf(a?.taskId)}'`);
    await waitFor(async () => (await countWaiting()) === 0, {
      what: "the ghost to be forgotten",
      timeoutMs: 30_000,
    });
  });
});

describe("a job that counts other tasks than it has", () => {
  it("is counted anew, and its task runs", async () => {
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "miscounted" }] });
    await harness.db.query("UPDATE jobs SET ready = 0, blocked = 1 WHERE job_id = $1", [
      jobUuid(jobId),
    ]);
    await harness.service[Symbol.asyncDispose]();
    harness.service = await harness.start();
    harness.client = await harness.clientOf("alice");
    harness.agent({ agentId: "miscounted", capabilities: ["miscounted"], behaviour: echo });
    await waitFor(() => harness.isReady(), { what: "the new orchestrator to own" });
    await untilCompleted(jobId);
  });

  it("ends when nothing of it is open", async () => {
    harness.agent({ agentId: "over", capabilities: ["over"], behaviour: echo });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "over" }] });
    await untilCompleted(jobId);
    await harness.db.query(
      "UPDATE jobs SET state = 'RUNNING', ended_at = NULL, active = 1, succeeded = 0 WHERE job_id = $1",
      [jobUuid(jobId)],
    );
    await untilCompleted(jobId);
  });
});
