import { EdgePolicy, type Job, JobState, TaskState } from "@nexus/proto/orchestrator";
import { createIds } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectError } from "./_expect.ts";
import { Harness, text, textOf } from "./_harness.ts";
import type { Behaviour } from "./_router.ts";

const ids = createIds();
/** Keys of tasks that fail for good at the moment. */
const broken = new Set<string>();
let runs = 0;

/** Puts out its key, its input, what came from upstream, and a number that no other run has. */
const report: Behaviour = (received, router) => {
  const { taskKey, input, upstream } = received.assignment;
  router.accept(received);
  if (broken.has(taskKey)) {
    router.fail(received, "BROKEN", { retryable: false });
    return;
  }
  runs += 1;
  const from = Object.entries(upstream).map(([name, payload]) => `${name}=${textOf(payload)}`);
  router.complete(received, `${taskKey}#${runs}(${[textOf(input), ...from.sort()].join(" ")})`);
};

const harness = new Harness();
beforeAll(async () => {
  await harness.open();
  harness.agent({ agentId: "any", capabilities: ["x"], slots: 20, behaviour: report });
});
afterAll(() => harness.close());

function task(key: string, ...parents: string[]) {
  const dependencies = parents.map((taskKey) => ({ taskKey, inputName: taskKey }));
  return { key, capability: "x", dependencies, input: text(`in-${key}`) };
}

async function retry(jobId: string): Promise<Job> {
  const { job } = await harness.client.retryJob({ requestId: ids.next(), jobId });
  if (job === undefined) throw new Error("no job");
  return job;
}

async function replay(jobId: string, taskKey: string): Promise<Job> {
  const { job } = await harness.client.replayJob({ requestId: ids.next(), jobId, taskKey });
  if (job === undefined) throw new Error("no job");
  return job;
}

function uuidOf(jobId: string): string {
  return jobId.slice("job_".length);
}

async function outputOf(jobId: string, key: string): Promise<string> {
  const found = (await harness.tasksOf(jobId))[key];
  const { task } = await harness.client.getTask({ taskId: found?.taskId ?? "" });
  return textOf(task?.output);
}

/** A job of a chain `a -> b -> c` beside a single `d`, in which `b` fails. */
async function failedJob(): Promise<string> {
  broken.add("b");
  const jobId = await harness.submit({
    objective: "chain",
    labels: { kind: "chain" },
    priority: 3,
    tasks: [task("a"), task("b", "a"), task("c", "b"), task("d")],
  });
  await harness.untilState(jobId, JobState.FAILED);
  broken.clear();
  return jobId;
}

describe("RetryJob", () => {
  it("runs what did not succeed in a new job and keeps the other outputs by reference", async () => {
    const jobId = await failedJob();
    const before = await harness.client.getJob({ jobId });
    const a = await outputOf(jobId, "a");
    const outputs = await harness.count("task_outputs");
    const job = await retry(jobId);
    expect(job.jobId).not.toBe(jobId);
    expect(job).toMatchObject({
      state: JobState.PENDING,
      generation: 2,
      replayOf: jobId,
      originJobId: jobId,
      replayFrom: "",
      objective: "chain",
      labels: { kind: "chain" },
      priority: 3,
      tasks: { total: 4, succeeded: 2, ready: 1, blocked: 1 },
    });
    const done = await harness.untilState(job.jobId, JobState.COMPLETED);
    expect(await outputOf(job.jobId, "a")).toBe(a);
    const b = await outputOf(job.jobId, "b");
    expect(b).toContain(`(in-b a=${a})`);
    expect(textOf(done.results["c"])).toContain(`b=${b}`);
    expect(textOf(done.results["d"])).toBe(await outputOf(jobId, "d"));
    expect(await harness.count("task_outputs")).toBe(outputs + 2);
    const old = await harness.tasksOf(jobId);
    const tasks = await harness.tasksOf(job.jobId);
    const kept = await harness.client.getTask({ taskId: tasks["a"]?.taskId ?? "" });
    expect(textOf(kept.task?.spec?.input)).toBe("in-a");
    expect(tasks["a"]).toMatchObject({
      state: TaskState.SUCCEEDED,
      attempts: 0,
      reusedFromTaskId: old["a"]?.taskId,
    });
    expect(tasks["b"]).toMatchObject({ attempts: 1, reusedFromTaskId: "" });
    expect(await harness.client.getJob({ jobId })).toEqual(before);
  });

  it("makes one generation after the other, and references never chain", async () => {
    const jobId = await failedJob();
    broken.add("c");
    const second = await retry(jobId);
    await harness.untilState(second.jobId, JobState.FAILED);
    broken.clear();
    const third = await retry(second.jobId);
    expect(third).toMatchObject({ generation: 3, replayOf: second.jobId, originJobId: jobId });
    await harness.untilState(third.jobId, JobState.COMPLETED);
    const old = await harness.tasksOf(jobId);
    const tasks = await harness.tasksOf(third.jobId);
    expect(tasks["a"]?.reusedFromTaskId).toBe(old["a"]?.taskId);
    expect(await outputOf(third.jobId, "c")).toContain(`b=${await outputOf(second.jobId, "b")}`);
    const whole = await replay(third.jobId, "a");
    await harness.untilState(whole.jobId, JobState.COMPLETED);
    expect(await outputOf(whole.jobId, "a")).toContain("(in-a)");
    const again = await Promise.all([retry(jobId), retry(jobId)]);
    expect(new Set(again.map((job) => job.generation))).toEqual(new Set([5, 6]));
    for (const job of again) await harness.untilState(job.jobId, JobState.COMPLETED);
  });

  it("never repeats a fence", async () => {
    const jobId = await failedJob();
    const job = await retry(jobId);
    await harness.untilState(job.jobId, JobState.COMPLETED);
    const fences = harness.router.assignments
      .filter(({ assignment }) => [jobId, job.jobId].includes(assignment.jobId))
      .map(({ assignment }) => assignment.fence);
    expect(fences).toHaveLength(5);
    expect(new Set(fences).size).toBe(5);
  });

  it("runs a cancelled job again, and what stood on a missing input", async () => {
    const cancelled = await harness.submit({
      tasks: [task("a"), { ...task("b", "a"), capability: "nobody" }],
    });
    await waitFor(
      async () => (await harness.tasksOf(cancelled))["a"]?.state === TaskState.SUCCEEDED,
      { what: "the first task" },
    );
    await harness.client.cancelJob({ requestId: cancelled, jobId: cancelled });
    const job = await retry(cancelled);
    expect(job.tasks).toMatchObject({ total: 2, succeeded: 1, ready: 1 });
    await harness.client.cancelJob({ requestId: job.jobId, jobId: job.jobId });

    broken.add("flaw");
    const { CONTINUE } = EdgePolicy;
    const dependencies = [{ taskKey: "flaw", inputName: "flaw", onFailure: CONTINUE }];
    const partial = await harness.submit({
      tasks: [task("flaw"), { ...task("sum"), dependencies }],
    });
    await harness.untilState(partial, JobState.PARTIAL);
    broken.clear();
    const whole = await harness.untilState((await retry(partial)).jobId, JobState.COMPLETED);
    expect(textOf(whole.results["sum"])).toContain("flaw=flaw#");
  });

  it("ends PARTIAL beside kept results when a tolerated task fails again without an agent", async () => {
    const lonely = {
      ...task("lonely"),
      capability: "nobody",
      scheduleToStartTimeout: { nanos: 100_000_000 },
    };
    const { SKIP } = EdgePolicy;
    const next = { ...task("next"), dependencies: [{ taskKey: "lonely", onFailure: SKIP }] };
    const jobId = await harness.submit({ tasks: [task("good"), lonely, next] });
    await harness.untilState(jobId, JobState.PARTIAL);
    const job = await harness.untilState((await retry(jobId)).jobId, JobState.PARTIAL);
    expect(job.startTime).toBeUndefined();
    expect(textOf(job.results["good"])).toBe(await outputOf(jobId, "good"));
  });

  it("is idempotent, and refuses what has not ended or has nothing to retry", async () => {
    const jobId = await failedJob();
    const request = { requestId: ids.next(), jobId };
    const first = await harness.client.retryJob(request);
    await harness.untilState(first.job?.jobId ?? "", JobState.COMPLETED);
    const repeat = await harness.client.retryJob(request);
    expect(repeat.job?.jobId).toBe(first.job?.jobId);
    const other = harness.client.replayJob({ ...request, taskKey: "a" });
    await expectError(other, "conflict", "REQUEST_ID_REUSED");
    await expectError(retry(first.job?.jobId ?? ""), "precondition", "NOTHING_TO_RETRY");
    const open = await harness.submit({ tasks: [{ key: "a", capability: "nobody" }] });
    await expectError(retry(open), "precondition", "JOB_NOT_ENDED");
    await expectError(replay(open, "a"), "precondition", "JOB_NOT_ENDED");
    await harness.client.pauseJob({ requestId: ids.next(), jobId: open });
    await expectError(retry(open), "precondition", "JOB_NOT_ENDED");
    await harness.client.cancelJob({ requestId: open, jobId: open });
    expect(await harness.count(`jobs WHERE origin_job_id = '${uuidOf(open)}'`)).toBe(0);
  });

  it("is refused without the scope, and to another namespace", async () => {
    const jobId = await failedJob();
    const reader = await harness.clientOf("reader", { scopes: ["orchestrator:job:submit"] });
    const request = { requestId: ids.next(), jobId };
    await expectError(reader.retryJob(request), "forbidden", "SCOPE_MISSING");
    await expectError(reader.replayJob({ ...request, taskKey: "a" }), "forbidden", "SCOPE_MISSING");
    const foreign = await harness.clientOf("bob", { ns: "elsewhere" });
    await expectError(foreign.retryJob(request), "not_found", "JOB_NOT_FOUND");
    const replayed = foreign.replayJob({ ...request, taskKey: "a" });
    await expectError(replayed, "not_found", "JOB_NOT_FOUND");
  });
});

describe("ReplayJob", () => {
  it("runs a task and all behind it again, also of a completed job", async () => {
    const jobId = await harness.submit({
      tasks: [task("a"), task("b", "a"), task("c", "b"), task("d", "a")],
    });
    await harness.untilState(jobId, JobState.COMPLETED);
    const job = await replay(jobId, "b");
    expect(job).toMatchObject({ generation: 2, replayFrom: "b", tasks: { succeeded: 2 } });
    await harness.untilState(job.jobId, JobState.COMPLETED);
    for (const key of ["a", "d"]) {
      expect(await outputOf(job.jobId, key)).toBe(await outputOf(jobId, key));
    }
    const b = await outputOf(job.jobId, "b");
    expect(b).not.toBe(await outputOf(jobId, "b"));
    expect(b).toContain(`a=${await outputOf(jobId, "a")}`);
    expect(await outputOf(job.jobId, "c")).toContain(`b=${b}`);
    await expectError(replay(jobId, "nothing"), "not_found", "TASK_NOT_FOUND");
  });

  it("plans anew from the planner's task", async () => {
    let plans = 0;
    harness.agent({
      agentId: "planner",
      capabilities: ["nexus.plan"],
      behaviour: (received, router) => {
        plans += 1;
        const plan = {
          tasks: [{ key: `made-${plans}`, capability: "x" }],
          summary: `plan ${plans}`,
        };
        router.complete(received, JSON.stringify(plan), "application/json");
      },
    });
    const jobId = await harness.submit({ objective: "think" });
    await harness.untilState(jobId, JobState.COMPLETED);
    const kept = await replay(jobId, "made-1");
    const first = await harness.untilState(kept.jobId, JobState.COMPLETED);
    expect(first).toMatchObject({ planSummary: "plan 1", tasks: { total: 2 } });
    const job = await replay(jobId, "nexus.plan");
    expect(job).toMatchObject({ planSummary: "", tasks: { total: 1, ready: 1 } });
    const done = await harness.untilState(job.jobId, JobState.COMPLETED);
    expect(done.planSummary).toBe("plan 2");
    expect(Object.keys(done.results)).toEqual(["made-2"]);
  });

  it("survives a restart half-way", async () => {
    const jobId = await harness.submit({ tasks: [task("a"), task("b", "a")] });
    await harness.untilState(jobId, JobState.COMPLETED);
    harness.peers.remove("any");
    const job = await replay(jobId, "b");
    await harness.service[Symbol.asyncDispose]();
    harness.service = await harness.start();
    harness.client = await harness.clientOf("alice");
    await waitFor(() => harness.isReady(), { what: "the new orchestrator to own" });
    harness.agent({ agentId: "any", capabilities: ["x"], slots: 20, behaviour: report });
    await harness.untilState(job.jobId, JobState.COMPLETED);
    expect(await outputOf(job.jobId, "b")).toContain(`a=${await outputOf(jobId, "a")}`);
  });
});
