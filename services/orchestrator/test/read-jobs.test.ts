import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectError } from "./_expect.ts";
import { type Client, Harness, text, textOf } from "./_harness.ts";
import { begin, silent } from "./_router.ts";

const harness = new Harness();
let stranger: Client;
let outsider: Client;
const NO_JOB = `job_${"0".repeat(32)}`;
const NO_TASK = `task_${"0".repeat(32)}`;

beforeAll(async () => {
  await harness.open();
  stranger = await harness.clientOf("mallory", { ns: "other" });
  outsider = await harness.clientOf("nobody", { scopes: [] });
});
afterAll(() => harness.close());

describe("another namespace", () => {
  it("cannot tell a foreign job from none, by any method", async () => {
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "nobody-has" }] });
    const { a } = await harness.tasksOf(jobId);
    const taskId = a?.taskId ?? "";
    for (const id of [jobId, NO_JOB, "nonsense"]) {
      await expectError(stranger.getJob({ jobId: id }), "not_found", "JOB_NOT_FOUND");
      await expectError(stranger.listTasks({ jobId: id }), "not_found", "JOB_NOT_FOUND");
      const cancel = stranger.cancelJob({ requestId: "c", jobId: id });
      await expectError(cancel, "not_found", "JOB_NOT_FOUND");
      const watch = stranger.watchJob({ jobId: id })[Symbol.asyncIterator]();
      await expectError(watch.next(), "not_found", "JOB_NOT_FOUND");
    }
    for (const id of [taskId, NO_TASK, "nonsense"]) {
      await expectError(stranger.getTask({ taskId: id }), "not_found", "TASK_NOT_FOUND");
      await expectError(stranger.explainTask({ taskId: id }), "not_found", "TASK_NOT_FOUND");
    }
    expect((await stranger.listJobs({})).jobs).toEqual([]);
    expect((await harness.client.getJob({ jobId })).job?.state).toBe(JobState.PENDING);
  });
});

describe("a caller without the scope", () => {
  it("is refused by every method", async () => {
    const calls = [
      () => outsider.getJob({ jobId: NO_JOB }),
      () => outsider.listJobs({}),
      () => outsider.listTasks({ jobId: NO_JOB }),
      () => outsider.getTask({ taskId: NO_TASK }),
      () => outsider.cancelJob({ requestId: "c", jobId: NO_JOB }),
      () => outsider.explainTask({ taskId: NO_TASK }),
      () => outsider.watchJob({ jobId: NO_JOB })[Symbol.asyncIterator]().next(),
    ];
    for (const call of calls) await expectError(call(), "forbidden", "SCOPE_MISSING");
  });
});

describe("ListJobs", () => {
  it("pages newest first, without gaps or repeats, filtered by state and labels", async () => {
    const lister = await harness.clientOf("lister", { ns: "listing" });
    const made: string[] = [];
    for (let i = 0; i < 7; i += 1) {
      const { job } = await lister.submitJob({
        requestId: `r${i}`,
        labels: i % 2 === 0 ? { parity: "even", n: String(i) } : { parity: "odd" },
        tasks: [{ key: "a", capability: "none" }],
      });
      made.unshift(job?.jobId ?? "");
    }
    const seen: string[] = [];
    for (let pageToken = "", more = true; more; more = pageToken !== "") {
      const { jobs, page } = await lister.listJobs({ page: { pageSize: 3, pageToken } });
      seen.push(...jobs.map((job) => job.jobId));
      pageToken = page?.nextPageToken ?? "";
    }
    expect(seen).toEqual(made);
    const even = await lister.listJobs({ labels: { parity: "even" } });
    expect(even.jobs.map((job) => job.labels["n"])).toEqual(["6", "4", "2", "0"]);
    const both = await lister.listJobs({ labels: { parity: "even", n: "2" } });
    expect(both.jobs).toHaveLength(1);
    await lister.cancelJob({ requestId: "c", jobId: made[0] ?? "" });
    const cancelled = await lister.listJobs({ states: [JobState.CANCELLED] });
    expect(cancelled.jobs.map((job) => job.jobId)).toEqual([made[0]]);
    const open = await lister.listJobs({ states: [JobState.PENDING, JobState.RUNNING] });
    expect(open.jobs).toHaveLength(6);
  });

  it("refuses a page token of another list", async () => {
    const jobId = await harness.submit({
      tasks: [
        { key: "a", capability: "none" },
        { key: "b", capability: "none" },
      ],
    });
    const { page } = await harness.client.listTasks({ jobId, page: { pageSize: 1 } });
    const pageToken = page?.nextPageToken ?? "";
    expect(pageToken).not.toBe("");
    const call = harness.client.listJobs({ page: { pageSize: 1, pageToken } });
    await expectError(call, "invalid", "PAGE_TOKEN_INVALID");
  });
});

describe("ListTasks", () => {
  it("pages in the order of submission, without payloads, filtered by state", async () => {
    const tasks = Array.from({ length: 7 }, (_, i) => ({
      key: `t${i}`,
      capability: "none",
      input: text("x"),
      dependencies: i === 6 ? [{ taskKey: "t0" }] : [],
    }));
    const jobId = await harness.submit({ tasks });
    const keys: string[] = [];
    for (let pageToken = "", more = true; more; more = pageToken !== "") {
      const answer = await harness.client.listTasks({ jobId, page: { pageSize: 3, pageToken } });
      keys.push(...answer.tasks.map((task) => task.spec?.key ?? ""));
      expect(answer.tasks.every((task) => task.spec?.input === undefined)).toBe(true);
      pageToken = answer.page?.nextPageToken ?? "";
    }
    expect(keys).toEqual(["t0", "t1", "t2", "t3", "t4", "t5", "t6"]);
    const blocked = await harness.client.listTasks({ jobId, states: [TaskState.BLOCKED] });
    expect(blocked.tasks.map((task) => task.spec?.key)).toEqual(["t6"]);
  });
});

describe("GetTask", () => {
  it("shows input, output and what the agent last said", async () => {
    harness.agent({ agentId: "teller", capabilities: ["tell"], behaviour: begin });
    const jobId = await harness.submit({
      tasks: [{ key: "a", capability: "tell", input: text("question") }],
    });
    const received = await waitFor(
      () => harness.router.assignments.find((item) => item.assignment.jobId === jobId),
      { what: "the assignment" },
    );
    harness.router.progress(received, 0.25, "a quarter");
    const { taskId } = received.assignment;
    const running = await waitFor(
      async () => {
        const { task } = await harness.client.getTask({ taskId });
        return task?.progress === 0.25 && task.state === TaskState.RUNNING ? task : undefined;
      },
      { what: "progress" },
    );
    expect(textOf(running.spec?.input)).toBe("question");
    expect(running).toMatchObject({
      agentId: "teller",
      fence: received.assignment.fence,
      attempts: 1,
    });
    expect(running.output).toBeUndefined();
    harness.router.complete(received, "answer");
    await harness.untilState(jobId, JobState.COMPLETED);
    const { task } = await harness.client.getTask({ taskId });
    expect(textOf(task?.output)).toBe("answer");
    expect(task).toMatchObject({ state: TaskState.SUCCEEDED, progress: 1, fence: 0n });
  });
});

describe("ExplainTask", () => {
  it("stores why an agent was chosen, who was next, and who could not", async () => {
    const behaviour = silent;
    harness.agent({ agentId: "good", capabilities: ["judge@1.5.0"], reputation: 0.9, behaviour });
    harness.agent({ agentId: "fair", capabilities: ["judge@1.1.0"], reputation: 0.3, behaviour });
    harness.agent({ agentId: "old", capabilities: ["judge@0.9.0"], reputation: 1, behaviour });
    harness.peers.register({ agentId: "away", capabilities: ["judge@1.0.0"] });
    const untilKnown = async () => {
      const probe = await harness.submit({
        tasks: [{ key: "p", capability: "judge", versionRange: "^9.0.0" }],
      });
      const { p } = await harness.tasksOf(probe);
      const { now } = await harness.client.explainTask({ taskId: p?.taskId ?? "" });
      await harness.client.cancelJob({ requestId: probe, jobId: probe });
      return (now?.rejections.length ?? 0) >= 4;
    };
    await waitFor(untilKnown, { what: "four judges to be known" });
    const jobId = await harness.submit({
      tasks: [{ key: "a", capability: "judge", versionRange: "^1.0.0" }],
    });
    const { a } = await waitFor(
      async () => {
        const tasks = await harness.tasksOf(jobId);
        return tasks["a"]?.state === TaskState.LEASED ? tasks : undefined;
      },
      { what: "the lease" },
    );
    const { attempts, now } = await harness.client.explainTask({ taskId: a?.taskId ?? "" });
    expect(now).toBeUndefined();
    expect(attempts).toHaveLength(1);
    expect(attempts[0]).toMatchObject({
      attempt: 1,
      agentId: "good",
      outcome: "",
      decision: { agentId: "good", fallbackAgentId: "fair", eligible: 2, exploration: false },
    });
    expect(attempts[0]?.decision?.factors).toMatchObject({ reputation: 0.9, load: 1 });
    const reasons = attempts[0]?.decision?.rejections.map((r) => `${r.agentId} ${r.reason}`);
    expect(reasons?.sort()).toEqual(["away NOT_CONNECTED", "old VERSION"]);
  });

  it("says how the choice stands now while a task waits", async () => {
    harness.peers.register({
      agentId: "labelled",
      capabilities: ["wait@1.0.0"],
      labels: { gpu: "t4" },
    });
    harness.router.connect("labelled", { behaviour: silent });
    const jobId = await harness.submit({
      tasks: [{ key: "a", capability: "wait", requiredLabels: { gpu: "a100" } }],
    });
    const { a } = await harness.tasksOf(jobId);
    const now = await waitFor(
      async () => {
        const answer = await harness.client.explainTask({ taskId: a?.taskId ?? "" });
        return answer.now?.rejections.find((r) => r.reason === "LABELS") && answer.now;
      },
      { what: "the rejection" },
    );
    expect(now).toMatchObject({ agentId: "", eligible: 0 });
    expect(now.rejections[0]).toMatchObject({ agentId: "labelled", reason: "LABELS" });
    expect(now.rejections.some((r) => r.reason === "CAPABILITY")).toBe(true);
  });
});
