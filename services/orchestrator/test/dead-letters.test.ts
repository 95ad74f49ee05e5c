import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { JobState, type ListDeadLettersRequestSchema, TaskState } from "@nexus/proto/orchestrator";
import { createIds } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectError } from "./_expect.ts";
import { Harness, textOf } from "./_harness.ts";
import { type Behaviour, echo } from "./_router.ts";

const harness = new Harness();
const ids = createIds();
beforeAll(() => harness.open());
afterAll(() => harness.close());

let made = 0;

/** An agent whose tasks fail for good until it is mended; afterwards it says what it received. */
function fragile(reason = "BROKEN") {
  made += 1;
  const capability = `fragile-${made}`;
  const agentId = `agent-${made}`;
  let broken = true;
  const behaviour: Behaviour = (received, router) => {
    const { input, upstream, taskKey } = received.assignment;
    if (taskKey === "first") {
      echo(received, router);
    } else if (broken) {
      router.fail(received, reason, { retryable: false, message: "it broke" });
    } else {
      const from = Buffer.from(upstream["from"]?.data ?? []).toString();
      router.complete(received, `${Buffer.from(input?.data ?? []).toString()}+${from}`);
    }
  };
  harness.agent({ agentId, capabilities: [capability], behaviour });
  return {
    capability,
    agentId,
    mend: () => {
      broken = false;
    },
  };
}

const INPUT = { contentType: "text/plain", data: Buffer.from("own") };

/** Submits tasks that fail, one a job, and returns their jobs and ids in the order of their failures. */
async function failSome(capability: string, count: number) {
  const failed: { jobId: string; taskId: string }[] = [];
  for (let i = 0; i < count; i += 1) {
    const jobId = await harness.submit({ tasks: [{ key: "a", capability, input: INPUT }] });
    await harness.untilState(jobId, JobState.FAILED);
    failed.push({ jobId, taskId: (await harness.tasksOf(jobId))["a"]?.taskId ?? "" });
  }
  return failed;
}

async function list(request: MessageInitShape<typeof ListDeadLettersRequestSchema>) {
  return (await harness.client.listDeadLetters(request)).deadLetters;
}

describe("ListDeadLetters", () => {
  it("shows every task that failed for good, with why, and none that was skipped or cancelled", async () => {
    const { capability, agentId } = fragile();
    const jobId = await harness.submit({
      tasks: [
        { key: "a", capability },
        { key: "b", capability, dependencies: [{ taskKey: "a" }] },
        { key: "c", capability: "nobody", scheduleToStartTimeout: { nanos: 100_000_000 } },
      ],
    });
    await harness.untilState(jobId, JobState.FAILED);
    const cancelled = await harness.submit({ tasks: [{ key: "a", capability: "nobody" }] });
    await harness.client.cancelJob({ requestId: cancelled, jobId: cancelled });
    const letters = await list({ filter: { jobId } });
    expect(letters.map(({ taskKey }) => taskKey).sort()).toEqual(["a", "c"]);
    const task = (await harness.tasksOf(jobId))["a"];
    expect(letters.find(({ taskKey }) => taskKey === "a")).toMatchObject({
      taskId: task?.taskId,
      jobId,
      capability,
      agentId,
      attempts: 1,
      failure: { reason: "BROKEN", message: "it broke" },
      failTime: task?.endTime,
      redrivenJobId: "",
    });
    expect(letters.find(({ taskKey }) => taskKey === "c")).toMatchObject({
      agentId: "",
      attempts: 0,
      failure: { reason: "NO_AGENT_IN_TIME" },
    });
    expect(await list({ filter: { jobId: cancelled } })).toEqual([]);
  });

  it("filters by everything that it shows, and pages from the latest failure on", async () => {
    const { capability, agentId } = fragile("ODD_REASON");
    const failed = await failSome(capability, 3);
    const newestFirst = failed.map(({ taskId }) => taskId).reverse();
    const idsOf = async (filter: object) => (await list({ filter })).map(({ taskId }) => taskId);
    expect(await idsOf({ capability })).toEqual(newestFirst);
    expect(await idsOf({ agentId })).toEqual(newestFirst);
    expect(await idsOf({ reason: "ODD_REASON" })).toEqual(newestFirst);
    expect(await idsOf({ capability, reason: "OTHER" })).toEqual([]);
    expect(await idsOf({ jobId: failed[0]?.jobId })).toEqual([failed[0]?.taskId]);
    expect(await idsOf({ jobId: "no job at all" })).toEqual([]);
    const middle = (await list({ filter: { capability } }))[1]?.failTime;
    const at = middle === undefined ? new Date(0) : timestampDate(middle);
    const after = timestampFromDate(new Date(at.getTime() + 1));
    expect(await idsOf({ capability, failedSince: after })).toEqual(newestFirst.slice(0, 1));
    expect(await idsOf({ capability, failedBefore: after })).toEqual(newestFirst.slice(1));
    const paged: string[] = [];
    for (let pageToken = ""; ; ) {
      const { deadLetters, page } = await harness.client.listDeadLetters({
        filter: { capability },
        page: { pageSize: 2, pageToken },
      });
      paged.push(...deadLetters.map(({ taskId }) => taskId));
      pageToken = page?.nextPageToken ?? "";
      if (pageToken === "") break;
    }
    expect(paged).toEqual(newestFirst);
    const token = { pageToken: "x" };
    await expectError(
      harness.client.listDeadLetters({ page: token }),
      "invalid",
      "PAGE_TOKEN_INVALID",
    );
  });

  it("shows a namespace only its own", async () => {
    const { capability } = fragile();
    await failSome(capability, 1);
    const stranger = await harness.clientOf("eve", { ns: "elsewhere" });
    expect((await stranger.listDeadLetters({})).deadLetters).toEqual([]);
    const poor = await harness.clientOf("poor", { scopes: ["registry:agent:read"] });
    await expectError(poor.listDeadLetters({}), "forbidden", "SCOPE_MISSING");
  });
});

describe("RedriveDeadLetters", () => {
  it("runs a task again as a job of its own, with all that it had received", async () => {
    const { capability, mend } = fragile();
    const jobId = await harness.submit({
      objective: "twice",
      priority: 7,
      labels: { team: "blue" },
      tasks: [
        { key: "first", capability, input: { contentType: "text/plain", data: Buffer.from("up") } },
        {
          key: "second",
          capability,
          priority: 3,
          input: INPUT,
          dependencies: [{ taskKey: "first", inputName: "from" }],
        },
      ],
    });
    const before = await harness.untilState(jobId, JobState.FAILED);
    const taskId = (await harness.tasksOf(jobId))["second"]?.taskId ?? "";
    mend();
    const { redrives, more } = await harness.client.redriveDeadLetters({
      requestId: ids.next(),
      taskIds: [taskId],
    });
    expect(redrives).toMatchObject([{ taskId, earlier: false }]);
    expect(more).toBe(false);
    const redriven = redrives[0]?.jobId ?? "";
    const job = await harness.untilState(redriven, JobState.COMPLETED);
    expect(textOf(job.results["second"])).toBe("own+first:up");
    expect(job).toMatchObject({
      objective: "twice",
      priority: 7,
      labels: { team: "blue", "nexus.dead-letter": taskId },
      principalId: "alice",
      tasks: { total: 1 },
    });
    const task = (await harness.tasksOf(redriven))["second"];
    expect(task).toMatchObject({ attempts: 1, spec: { priority: 3, dependencies: [] } });
    expect((await harness.client.getJob({ jobId })).job).toEqual(before);
    expect(await list({ filter: { jobId } })).toEqual([]);
    expect(await list({ filter: { jobId }, includeRedriven: true })).toMatchObject([
      { taskId, redrivenJobId: redriven, redrivenBy: "alice" },
    ]);
    const events: string[] = [];
    for await (const { events: batch } of harness.client.watchJob({ jobId: redriven })) {
      const states = batch.flatMap(({ event }) =>
        event.case === "jobChanged" ? JobState[event.value.state] : [],
      );
      events.push(...states);
    }
    expect(events).toEqual(["PENDING", "RUNNING", "COMPLETED"]);
  });

  it("does once what it is asked twice, and says so when somebody else was first", async () => {
    const { capability } = fragile();
    const [one, two] = (await failSome(capability, 2)).map(({ taskId }) => taskId) as [
      string,
      string,
    ];
    const requestId = ids.next();
    const request = { requestId, taskIds: [two, one] };
    const first = await harness.client.redriveDeadLetters(request);
    expect(first.redrives.map(({ taskId }) => taskId)).toEqual([one, two]);
    const jobs = await harness.count("jobs");
    expect(await harness.client.redriveDeadLetters(request)).toEqual(first);
    const bob = await harness.clientOf("bob");
    const second = await bob.redriveDeadLetters({ requestId: ids.next(), taskIds: [one] });
    expect(second.redrives).toMatchObject([
      { taskId: one, jobId: first.redrives[0]?.jobId, earlier: true },
    ]);
    expect(await harness.count("jobs")).toBe(jobs);
    const other = harness.client.redriveDeadLetters({ requestId, taskIds: [one] });
    await expectError(other, "conflict", "REQUEST_ID_REUSED");
  });

  it("takes by filter the oldest first, as many as it may, and says when there are more", async () => {
    const { capability } = fragile();
    const failed = (await failSome(capability, 3)).map(({ taskId }) => taskId);
    const redrive = (requestId: string) =>
      harness.client.redriveDeadLetters({ requestId, filter: { capability }, limit: 2 });
    const requestId = ids.next();
    const first = await redrive(requestId);
    expect(first.redrives.map(({ taskId }) => taskId)).toEqual(failed.slice(0, 2));
    expect(first.more).toBe(true);
    expect(await redrive(requestId)).toEqual(first);
    // They fail again: dead letters anew, under other ids.
    for (const { jobId } of first.redrives) await harness.untilState(jobId, JobState.FAILED);
    const again = await list({ filter: { jobId: first.redrives[0]?.jobId ?? "" } });
    expect(again).toHaveLength(1);
    const second = await redrive(ids.next());
    expect(second.redrives[0]?.taskId).toBe(failed[2]);
    expect(second.redrives[1]?.taskId).toBe(again[0]?.taskId);
    const nested = second.redrives[1]?.jobId ?? "";
    const { job } = await harness.client.getJob({ jobId: nested });
    expect(job?.labels).toEqual({ "nexus.dead-letter": again[0]?.taskId });
  });

  it("does nothing at all when one of the named is no dead letter", async () => {
    const { capability } = fragile();
    const [letter] = await failSome(capability, 1);
    const jobs = await harness.count("jobs");
    const requestId = ids.next();
    const unknown = "task_0000000000000000000000000000dead";
    for (const stray of [unknown, "no id at all"]) {
      const call = harness.client.redriveDeadLetters({
        requestId,
        taskIds: [letter?.taskId ?? "", stray],
      });
      await expectError(call, "not_found", "DEAD_LETTER_NOT_FOUND");
    }
    const stranger = await harness.clientOf("eve", { ns: "elsewhere" });
    const theirs = stranger.redriveDeadLetters({ requestId, taskIds: [letter?.taskId ?? ""] });
    await expectError(theirs, "not_found", "DEAD_LETTER_NOT_FOUND");
    expect(await harness.count("jobs")).toBe(jobs);
    expect(await list({ filter: { capability } })).toHaveLength(1);
    // The request was not spent on what was refused.
    const good = await harness.client.redriveDeadLetters({
      requestId,
      taskIds: [letter?.taskId ?? ""],
    });
    expect(good.redrives).toHaveLength(1);
  });

  it("asks a planner again when it was a planner's task that failed", async () => {
    let answers = 0;
    const planner: Behaviour = (received, router) => {
      answers += 1;
      if (answers === 1) router.complete(received, "no plan", "application/json");
      else {
        const plan = JSON.stringify({ tasks: [{ key: "x", capability: "planned" }], summary: "s" });
        router.complete(received, plan, "application/json");
      }
    };
    harness.agent({ agentId: "planner", capabilities: ["nexus.plan"], behaviour: planner });
    harness.agent({ agentId: "worker", capabilities: ["planned"] });
    const jobId = await harness.submit({ objective: "plan this" });
    await harness.untilState(jobId, JobState.FAILED);
    const [letter] = await list({ filter: { jobId } });
    expect(letter?.failure?.reason).toBe("PLAN_REJECTED");
    const { redrives } = await harness.client.redriveDeadLetters({
      requestId: ids.next(),
      filter: { jobId },
    });
    const job = await harness.untilState(redrives[0]?.jobId ?? "", JobState.COMPLETED);
    expect(job).toMatchObject({ objective: "plan this", planSummary: "s", tasks: { total: 2 } });
  });

  it("refuses a choice that is none, and who may not submit", async () => {
    const requestId = ids.next();
    const task = "task_0000000000000000000000000000dead";
    const many = Array.from({ length: 101 }, (_, i) => `task_${i.toString(16).padStart(32, "0")}`);
    for (const choice of [
      {},
      { taskIds: [task], filter: {} },
      { taskIds: many },
      { taskIds: [task, task] },
      { filter: {}, limit: 101 },
      { filter: { jobId: "no job at all" } },
    ]) {
      const call = harness.client.redriveDeadLetters({ requestId, ...choice });
      await expectError(call, "invalid", "REQUEST_INVALID");
    }
    const reader = await harness.clientOf("reader", { scopes: ["orchestrator:job:read"] });
    const call = reader.redriveDeadLetters({ requestId, filter: {} });
    await expectError(call, "forbidden", "SCOPE_MISSING");
  });
});

describe("a task that is not over", () => {
  it("is no dead letter between its attempts", async () => {
    const once: Behaviour = (received, router) => {
      if (received.assignment.attempt === 1) router.fail(received);
      else echo(received, router);
    };
    harness.agent({ agentId: "second-try", capabilities: ["second-try"], behaviour: once });
    const retry = { initialDelay: { nanos: 1_000_000 } };
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "second-try", retry }] });
    await harness.untilState(jobId, JobState.COMPLETED);
    const task = await waitFor(async () => (await harness.tasksOf(jobId))["a"], { what: "it" });
    expect(task).toMatchObject({ state: TaskState.SUCCEEDED, attempts: 2 });
    expect(await list({ filter: { jobId }, includeRedriven: true })).toEqual([]);
  });
});
