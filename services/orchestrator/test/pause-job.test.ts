import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { createIds } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectError } from "./_expect.ts";
import { Harness } from "./_harness.ts";
import { type Behaviour, begin, type Received } from "./_router.ts";

const ids = createIds();
const running: Received[] = [];
const keep: Behaviour = (received, router) => {
  begin(received, router);
  running.push(received);
};

const harness = new Harness();
beforeAll(async () => {
  await harness.open({ waitingTasksMax: 50 });
  harness.agent({ agentId: "keeper", capabilities: ["x"], slots: 10, behaviour: keep });
});
afterAll(() => harness.close());

function runsOf(jobId: string): Received[] {
  return running.filter(({ assignment }) => assignment.jobId === jobId);
}

async function untilRunning(jobId: string, key: string): Promise<Received> {
  return waitFor(() => runsOf(jobId).find(({ assignment }) => assignment.taskKey === key), {
    what: `${key} to run`,
  });
}

async function pause(jobId: string) {
  return (await harness.client.pauseJob({ requestId: ids.next(), jobId })).job;
}

async function resume(jobId: string) {
  return (await harness.client.resumeJob({ requestId: ids.next(), jobId })).job;
}

async function untilTask(jobId: string, key: string, state: TaskState): Promise<void> {
  await waitFor(async () => (await harness.tasksOf(jobId))[key]?.state === state, {
    what: `${key} to be ${TaskState[state]}`,
  });
}

/** Submits another job of the same agent and runs it: whatever could have been chosen before it has been. */
async function letOthersPass(): Promise<void> {
  const jobId = await harness.submit({
    tasks: [{ key: "other", capability: "x" }],
    priority: -100,
  });
  harness.router.complete(await untilRunning(jobId, "other"), "done");
  await harness.untilState(jobId, JobState.COMPLETED);
}

describe("PauseJob", () => {
  it("lets what runs go on and keeps what it frees, until ResumeJob", async () => {
    const jobId = await harness.submit({
      tasks: [
        { key: "first", capability: "x" },
        { key: "second", capability: "x", dependencies: [{ taskKey: "first" }] },
      ],
    });
    const first = await untilRunning(jobId, "first");
    const paused = await pause(jobId);
    expect(paused).toMatchObject({ state: JobState.PAUSED, tasks: { active: 1, blocked: 1 } });
    harness.router.complete(first, "done");
    await untilTask(jobId, "second", TaskState.READY);
    await letOthersPass();
    expect(runsOf(jobId)).toHaveLength(1);
    expect(await harness.count("ready")).toBe(0);
    const job = await resume(jobId);
    expect(job).toMatchObject({ state: JobState.RUNNING, tasks: { ready: 1, succeeded: 1 } });
    harness.router.complete(await untilRunning(jobId, "second"), "done");
    await harness.untilState(jobId, JobState.COMPLETED);
    expect(await harness.count("paused_ready")).toBe(0);
  });

  it("keeps retries and given-back tasks, and their attempts", async () => {
    const jobId = await harness.submit({
      tasks: ["failed", "released"].map((key) => ({
        key,
        capability: "x",
        retry: { initialDelay: { nanos: 1_000_000 } },
      })),
    });
    const failed = await untilRunning(jobId, "failed");
    const released = await untilRunning(jobId, "released");
    await pause(jobId);
    harness.router.fail(failed);
    harness.router.release(released);
    await untilTask(jobId, "failed", TaskState.READY);
    await untilTask(jobId, "released", TaskState.READY);
    await letOthersPass();
    expect(runsOf(jobId)).toHaveLength(2);
    await resume(jobId);
    await waitFor(() => runsOf(jobId).length === 4, { what: "the second attempts" });
    for (const received of runsOf(jobId).slice(2)) {
      expect(received.assignment.attempt).toBe(2);
      harness.router.complete(received, "done");
    }
    await harness.untilState(jobId, JobState.COMPLETED);
  });

  it("ends a job whose last task ran while it was paused", async () => {
    const jobId = await harness.submit({ tasks: [{ key: "only", capability: "x" }] });
    const only = await untilRunning(jobId, "only");
    await pause(jobId);
    harness.router.complete(only, "done");
    await harness.untilState(jobId, JobState.COMPLETED);
    expect(await resume(jobId)).toMatchObject({ state: JobState.COMPLETED });
  });

  it("stops the clock of a task that waits for an agent", async () => {
    const jobId = await harness.submit({
      tasks: [{ key: "late", capability: "rare", scheduleToStartTimeout: { nanos: 300_000_000 } }],
    });
    expect(await pause(jobId)).toMatchObject({ state: JobState.PAUSED });
    const other = await harness.submit({
      tasks: [{ key: "later", capability: "rare", scheduleToStartTimeout: { nanos: 300_000_000 } }],
    });
    // Submitted later with the same patience: when it is given up, the paused one would have been long before.
    await harness.untilState(other, JobState.FAILED);
    expect((await harness.tasksOf(jobId))["late"]?.state).toBe(TaskState.READY);
    const resumed = await resume(jobId);
    expect(resumed).toMatchObject({ state: JobState.PENDING });
    const { failure } = await harness.untilState(jobId, JobState.FAILED);
    expect(failure?.reason).toBe("NO_AGENT_IN_TIME");
  });

  it("holds the plan of a planner that ran meanwhile", async () => {
    const plan = JSON.stringify({ tasks: [{ key: "made", capability: "x" }] });
    const planners: Received[] = [];
    harness.agent({
      agentId: "planner",
      capabilities: ["nexus.plan"],
      behaviour: (received, router) => {
        router.accept(received);
        planners.push(received);
      },
    });
    const jobId = await harness.submit({ objective: "think" });
    const planner = await waitFor(() => planners[0], { what: "the planner" });
    await pause(jobId);
    expect(await resume(jobId)).toMatchObject({ state: JobState.PLANNING });
    await pause(jobId);
    harness.router.complete(planner, plan, "application/json");
    await untilTask(jobId, "made", TaskState.READY);
    await letOthersPass();
    expect(runsOf(jobId)).toHaveLength(0);
    expect(await resume(jobId)).toMatchObject({ state: JobState.RUNNING });
    harness.router.complete(await untilRunning(jobId, "made"), "done");
    await harness.untilState(jobId, JobState.COMPLETED);
  });

  it("does not outlive a cancel", async () => {
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "nobody" }] });
    await pause(jobId);
    const response = await harness.client.cancelJob({ requestId: ids.next(), jobId });
    expect(response).toMatchObject({ job: { state: JobState.CANCELLED }, neverStarted: 1 });
    expect(await harness.count("paused_ready")).toBe(0);
    expect(await resume(jobId)).toMatchObject({ state: JobState.CANCELLED });
  });

  it("is idempotent: a late repeat does not undo what came between", async () => {
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "nobody" }] });
    const request = { requestId: ids.next(), jobId };
    const first = await harness.client.pauseJob(request);
    expect(await harness.client.pauseJob(request)).toEqual(first);
    expect(await pause(jobId)).toEqual(first.job);
    await resume(jobId);
    expect((await harness.client.pauseJob(request)).job?.state).toBe(JobState.PENDING);
    await expectError(harness.client.resumeJob(request), "conflict", "REQUEST_ID_REUSED");
    const other = await harness.submit({ tasks: [{ key: "a", capability: "nobody" }] });
    const reused = harness.client.pauseJob({ ...request, jobId: other });
    await expectError(reused, "conflict", "REQUEST_ID_REUSED");
    for (const id of [jobId, other]) await harness.client.cancelJob({ requestId: id, jobId: id });
  });

  it("is watched, and refused to strangers", async () => {
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "nobody" }] });
    await pause(jobId);
    await resume(jobId);
    await harness.client.cancelJob({ requestId: jobId, jobId });
    const seen: string[] = [];
    for await (const { events } of harness.client.watchJob({ jobId })) {
      for (const { event } of events) {
        if (event.case === "jobChanged") seen.push(JobState[event.value.state]);
      }
    }
    expect(seen).toEqual(["PENDING", "PAUSED", "PENDING", "CANCELLED"]);
    const reader = await harness.clientOf("reader", { scopes: ["orchestrator:job:read"] });
    const request = { requestId: ids.next(), jobId };
    await expectError(reader.pauseJob(request), "forbidden", "SCOPE_MISSING");
    await expectError(reader.resumeJob(request), "forbidden", "SCOPE_MISSING");
    const foreign = await harness.clientOf("bob", { ns: "elsewhere" });
    await expectError(foreign.pauseJob(request), "not_found", "JOB_NOT_FOUND");
    await expectError(foreign.resumeJob(request), "not_found", "JOB_NOT_FOUND");
    const none = harness.client.pauseJob({ ...request, jobId: "job_1" });
    await expectError(none, "not_found", "JOB_NOT_FOUND");
  });

  it("keeps the room of what it withholds, so that pausing makes none and a resume finds it", async () => {
    const many = (prefix: string, count: number) =>
      Array.from({ length: count }, (_, i) => ({ key: `${prefix}${i}`, capability: "nobody" }));
    const jobId = await harness.submit({ tasks: many("a", 40) });
    await pause(jobId);
    const refused = harness.submit({ tasks: many("b", 11) });
    const { message, details } = await expectError(refused, "exhausted", "QUEUE_FULL");
    expect(message).toMatch(/^40 tasks .* 40 of them in paused jobs; at most 50 may/);
    expect(details.retryAfterMs).toBeGreaterThanOrEqual(100);
    const other = await harness.submit({ tasks: many("b", 10) });
    expect(await resume(jobId)).toMatchObject({ state: JobState.PENDING, tasks: { ready: 40 } });
    await expectError(harness.submit({ tasks: many("c", 1) }), "exhausted", "QUEUE_FULL");
    await pause(jobId);
    await harness.client.cancelJob({ requestId: jobId, jobId });
    const third = await harness.submit({ tasks: many("c", 40) });
    for (const id of [other, third]) await harness.client.cancelJob({ requestId: id, jobId: id });
  });

  it("counts what is freed while a job is paused, and what a failure cancels of it no longer", async () => {
    const waiting = Array.from({ length: 20 }, (_, i) => ({ key: `w${i}`, capability: "nobody" }));
    const jobId = await harness.submit({
      tasks: [
        { key: "opens", capability: "x" },
        { key: "fails", capability: "x", retry: { maxAttempts: 1 }, cancelSiblingsOnFailure: true },
        { key: "stays", capability: "x" },
        ...waiting.map((task) => ({ ...task, dependencies: [{ taskKey: "opens" }] })),
      ],
    });
    const opens = await untilRunning(jobId, "opens");
    const fails = await untilRunning(jobId, "fails");
    await untilRunning(jobId, "stays");
    await pause(jobId);
    harness.router.complete(opens, "done");
    await untilTask(jobId, "w19", TaskState.READY);
    const filling = (count: number) =>
      harness.submit({ tasks: waiting.concat(waiting).slice(0, count).map(toOwnKey) });
    const refused = await expectError(filling(31), "exhausted", "QUEUE_FULL");
    expect(refused.message).toMatch(/^20 tasks .* 20 of them in paused jobs/);
    harness.router.fail(fails);
    await untilTask(jobId, "w19", TaskState.CANCELLED);
    const fits = await filling(31);
    await harness.client.cancelJob({ requestId: fits, jobId: fits });
  });
});

function toOwnKey<T extends { readonly key: string }>(task: T, index: number): T {
  return { ...task, key: `f${index}` };
}

describe("a restart", () => {
  it("leaves paused jobs paused", async () => {
    const jobId = await harness.submit({
      tasks: [
        { key: "first", capability: "x" },
        { key: "waiting", capability: "soon" },
        { key: "second", capability: "x", dependencies: [{ taskKey: "first" }] },
      ],
    });
    const first = await untilRunning(jobId, "first");
    await pause(jobId);
    await harness.service[Symbol.asyncDispose]();
    harness.service = await harness.start({ waitingTasksMax: 2 });
    harness.client = await harness.clientOf("alice");
    await waitFor(() => harness.isReady(), { what: "the new orchestrator to own" });
    const beyond = harness.submit({ tasks: [{ key: "beyond", capability: "x" }] });
    const { message } = await expectError(beyond, "exhausted", "QUEUE_FULL");
    expect(message).toContain("1 of them in paused jobs");
    await harness.service[Symbol.asyncDispose]();
    harness.service = await harness.start();
    harness.client = await harness.clientOf("alice");
    await waitFor(() => harness.isReady(), { what: "the new orchestrator to own" });
    harness.agent({ agentId: "soon", capabilities: ["soon"], behaviour: keep });
    harness.router.complete(first, "done");
    await untilTask(jobId, "second", TaskState.READY);
    await letOthersPass();
    expect(runsOf(jobId)).toHaveLength(1);
    await resume(jobId);
    harness.router.complete(await untilRunning(jobId, "waiting"), "done");
    harness.router.complete(await untilRunning(jobId, "second"), "done");
    await harness.untilState(jobId, JobState.COMPLETED);
  });
});
