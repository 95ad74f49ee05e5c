import { EdgePolicy, type Job, JobState, TaskState } from "@nexus/proto/orchestrator";
import { createIds } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectError } from "./_expect.ts";
import { Harness, text, textOf } from "./_harness.ts";
import type { Behaviour, Received } from "./_router.ts";

const ids = createIds();
const held: Received[] = [];
/** Set while elements that are bad are mended. */
let mended = false;

/** `list` tasks put their input out as JSON; others say what they got. An element "bad" fails, "held" waits. */
const work: Behaviour = (received, router) => {
  const { taskKey, input, upstream } = received.assignment;
  router.accept(received);
  const item = textOf(upstream["item"]);
  if (taskKey === "late") held.push(received);
  else if (taskKey.startsWith("list")) router.complete(received, textOf(input), "application/json");
  else if (item === '"bad"' && !mended) router.fail(received, "BAD", { retryable: false });
  else if (item === '"held"' && !mended) held.push(received);
  else {
    const names = Object.keys(upstream).sort();
    const from = names.map((name) => `${name}=${textOf(upstream[name])}`).join(" ");
    router.complete(received, `${textOf(input)}<${from}>`);
  }
};

const harness = new Harness();
beforeAll(async () => {
  await harness.open();
  harness.agent({ agentId: "any", capabilities: ["x"], slots: 20, behaviour: work });
});
afterAll(() => harness.close());

function list(value: unknown, key = "list") {
  return { key, capability: "x", input: text(JSON.stringify(value)) };
}

function mapped(
  options: { key?: string; source?: string; maxItems?: number; also?: string[] } = {},
) {
  const { key = "each", source = "list", maxItems = 0, also = [] } = options;
  return {
    key,
    capability: "x",
    map: { source, itemName: "item", maxItems },
    dependencies: [
      ...also.map((taskKey) => ({ taskKey, inputName: taskKey })),
      { taskKey: source },
    ],
  };
}

function sum(onFailure = EdgePolicy.FAIL, of = "each") {
  return {
    key: "sum",
    capability: "x",
    dependencies: [{ taskKey: of, inputName: "all", onFailure }],
  };
}

async function statesOf(jobId: string): Promise<Record<string, string>> {
  const tasks = Object.entries(await harness.tasksOf(jobId));
  return Object.fromEntries(tasks.map(([key, { state }]) => [key, TaskState[state]]));
}

async function retry(jobId: string): Promise<Job> {
  const { job } = await harness.client.retryJob({ requestId: ids.next(), jobId });
  if (job === undefined) throw new Error("no job");
  return job;
}

async function expectClean(): Promise<void> {
  expect(await harness.count("ready")).toBe(0);
  expect(await harness.count("leases")).toBe(0);
}

describe("a mapped task", () => {
  it("runs once for each element, and hands the list of outputs on in order", async () => {
    const jobId = await harness.submit({
      tasks: [
        list(["a", { b: 1 }, 3]),
        { key: "extra", capability: "x", input: text("E") },
        { ...mapped({ also: ["extra"] }), input: text("in") },
        sum(),
      ],
    });
    const job = await harness.untilState(jobId, JobState.COMPLETED);
    expect(job.tasks).toMatchObject({ total: 7, succeeded: 7 });
    const elements = ['"a"', '{"b":1}', "3"].map((item) => `in<extra=E<> item=${item}>`);
    expect(textOf(job.results["sum"])).toBe(`<all=${JSON.stringify(elements)}>`);
    const tasks = await harness.tasksOf(jobId);
    expect(tasks["each#1"]).toMatchObject({ mappedTaskKey: "each", mapIndex: 1, attempts: 1 });
    expect(tasks["each"]).toMatchObject({
      state: TaskState.SUCCEEDED,
      attempts: 0,
      mappedTaskKey: "",
      spec: { map: { source: "list", itemName: "item", maxItems: 1000 } },
    });
    const { task } = await harness.client.getTask({ taskId: tasks["each#1"]?.taskId ?? "" });
    expect(textOf(task?.spec?.input)).toBe("in");
    await expectClean();
  });

  it("succeeds at once over an empty list, also twice in a row and over each other's lists", async () => {
    const jobId = await harness.submit({
      tasks: [list([]), mapped(), mapped({ key: "second", source: "each" }), sum(0, "second")],
    });
    const job = await harness.untilState(jobId, JobState.COMPLETED);
    expect(textOf(job.results["sum"])).toBe("<all=[]>");
    const nested = await harness.submit({
      tasks: [list(["a", "b"]), mapped(), mapped({ key: "second", source: "each" })],
    });
    const done = await harness.untilState(nested, JobState.COMPLETED);
    const first = ["a", "b"].map((item) => `<item="${item}">`);
    const second = first.map((item) => `<item=${JSON.stringify(item)}>`);
    expect(textOf(done.results["second"])).toBe(JSON.stringify(second));
  });

  it("is mapped twice over one list that ends, each with tasks of its own", async () => {
    const jobId = await harness.submit({
      tasks: [list([1, 2]), mapped(), mapped({ key: "other" })],
    });
    const job = await harness.untilState(jobId, JobState.COMPLETED);
    expect(job.tasks).toMatchObject({ total: 7, succeeded: 7 });
    expect(Object.keys(job.results).sort()).toEqual(["each", "other"]);
  });

  const refused: readonly [string, string, { value: unknown; maxItems?: number }][] = [
    ["an output that is no list", "MAP_SOURCE_INVALID", { value: { a: 1 } }],
    ["a list that is too long", "MAP_TOO_LARGE", { value: [1, 2, 3], maxItems: 2 }],
  ];
  for (const [what, reason, { value, maxItems }] of refused) {
    it(`fails for ${what}, as its edges say`, async () => {
      const map = mapped(maxItems === undefined ? {} : { maxItems });
      const jobId = await harness.submit({ tasks: [list(value), map, sum()] });
      const job = await harness.untilState(jobId, JobState.FAILED);
      expect(job.failure).toMatchObject({ reason, taskKey: "each" });
      expect(await statesOf(jobId)).toEqual({ list: "SUCCEEDED", each: "FAILED", sum: "SKIPPED" });
      const tolerant = await harness.submit({
        tasks: [list(value), map, sum(EdgePolicy.CONTINUE)],
      });
      const partial = await harness.untilState(tolerant, JobState.PARTIAL);
      expect(textOf(partial.results["sum"])).toBe("<>");
    });
  }

  it("fails when the list of outputs exceeds a payload", async () => {
    const half = "x".repeat(150 * 1024);
    const jobId = await harness.submit({
      tasks: [list([1, 2]), { ...mapped(), input: text(half) }],
    });
    const { failure } = await harness.untilState(jobId, JobState.FAILED);
    expect(failure).toMatchObject({ reason: "OUTPUT_TOO_LARGE", taskKey: "each" });
  });

  it("is skipped when an element fails, while the others go on", async () => {
    const jobId = await harness.submit({ tasks: [list(["bad", "held"]), mapped(), sum()] });
    await waitFor(async () => (await statesOf(jobId))["sum"] === "SKIPPED", { what: "the skip" });
    const received = await waitFor(() => held.at(-1), { what: "the other element" });
    harness.router.complete(received, "fine");
    const job = await harness.untilState(jobId, JobState.FAILED);
    expect(job.failure).toMatchObject({ reason: "BAD", taskKey: "each#0" });
    const tasks = await harness.tasksOf(jobId);
    expect(tasks["each"]?.failure).toMatchObject({ reason: "UPSTREAM_FAILED", taskKey: "each#0" });
    expect(tasks["each#1"]?.state).toBe(TaskState.SUCCEEDED);
    const tolerant = await harness.submit({
      tasks: [list(["bad", "good"]), mapped(), sum(EdgePolicy.CONTINUE)],
    });
    await harness.untilState(tolerant, JobState.PARTIAL);
    await expectClean();
  });

  it("stops the other elements when it says so", async () => {
    const each = { ...mapped(), cancelSiblingsOnFailure: true };
    const jobId = await harness.submit({ tasks: [list(["held", "bad"]), each] });
    await harness.untilState(jobId, JobState.FAILED);
    expect(await statesOf(jobId)).toMatchObject({ "each#0": "CANCELLED", "each#1": "FAILED" });
    await expectClean();
  });

  it("waits with its tasks while the job is paused, and over a restart", async () => {
    const late = { key: "late", capability: "x" };
    const jobId = await harness.submit({ tasks: [late, mapped({ source: "late" }), sum()] });
    const received = await waitFor(
      () => held.find(({ assignment }) => assignment.jobId === jobId),
      { what: "the source" },
    );
    await harness.client.pauseJob({ requestId: ids.next(), jobId });
    harness.router.complete(received, '["a"]', "application/json");
    await waitFor(async () => (await statesOf(jobId))["each#0"] === "READY", {
      what: "the element's task",
    });
    await expectClean();
    await harness.service[Symbol.asyncDispose]();
    harness.service = await harness.start();
    harness.client = await harness.clientOf("alice");
    await waitFor(() => harness.isReady(), { what: "the new orchestrator to own" });
    await harness.client.resumeJob({ requestId: ids.next(), jobId });
    const job = await harness.untilState(jobId, JobState.COMPLETED);
    expect(textOf(job.results["sum"])).toBe('<all=["<item=\\"a\\">"]>');
  });

  it("comes out of a plan", async () => {
    const plan = {
      tasks: [
        { key: "list", capability: "x", input: { data: Buffer.from("[7]").toString("base64") } },
        {
          key: "each",
          capability: "x",
          map: { source: "list", itemName: "item" },
          dependencies: [{ taskKey: "list" }],
        },
      ],
    };
    harness.agent({
      agentId: "planner",
      capabilities: ["nexus.plan"],
      behaviour: (received, router) =>
        router.complete(received, JSON.stringify(plan), "application/json"),
    });
    const jobId = await harness.submit({ objective: "think" });
    const job = await harness.untilState(jobId, JobState.COMPLETED);
    expect(textOf(job.results["each"])).toBe('["<item=7>"]');
  });
});

describe("admission of a mapped task", () => {
  const dependency = { taskKey: "list" };
  const map = { source: "list", itemName: "item" };
  const flaws: readonly [string, object][] = [
    ["a source that it does not depend on", { map, dependencies: [] }],
    [
      "a source that it could run without",
      { map, dependencies: [{ ...dependency, onFailure: EdgePolicy.CONTINUE }] },
    ],
    [
      "an element under the name of another input",
      { map, dependencies: [{ ...dependency, inputName: "item" }] },
    ],
  ];
  for (const [what, changes] of flaws) {
    it(`refuses ${what}`, async () => {
      const tasks = [list([]), { key: "each", capability: "x", ...changes }];
      await expectError(harness.submit({ tasks }), "invalid", "MAP_INVALID");
    });
  }

  it("refuses limits out of range", async () => {
    const tasks = [list([]), mapped({ maxItems: 1_001 })];
    await expectError(harness.submit({ tasks }), "invalid", "REQUEST_INVALID");
  });
});

describe("a new generation of a mapped task", () => {
  it("runs only the elements that failed, and puts the whole list together", async () => {
    const jobId = await harness.submit({ tasks: [list(["a", "bad", "c"]), mapped(), sum()] });
    await harness.untilState(jobId, JobState.FAILED);
    mended = true;
    const job = await retry(jobId);
    expect(job.tasks).toMatchObject({ total: 6, succeeded: 3, ready: 1, blocked: 2 });
    const done = await harness.untilState(job.jobId, JobState.COMPLETED);
    mended = false;
    const items = ["a", "bad", "c"].map((item) => `<item="${item}">`);
    expect(textOf(done.results["sum"])).toBe(`<all=${JSON.stringify(items)}>`);
    const third = await harness.client.replayJob({
      requestId: ids.next(),
      jobId: job.jobId,
      taskKey: "each#0",
    });
    expect(third.job?.tasks).toMatchObject({ total: 6, succeeded: 3, ready: 1 });
    const again = await harness.untilState(third.job?.jobId ?? "", JobState.COMPLETED);
    expect(textOf(again.results["sum"])).toBe(`<all=${JSON.stringify(items)}>`);
  });

  it("makes the elements' tasks anew from the mapped task, at once, and from the list", async () => {
    const jobId = await harness.submit({ tasks: [list(["a", "b"]), mapped(), sum()] });
    await harness.untilState(jobId, JobState.COMPLETED);
    const replay = (taskKey: string) =>
      harness.client.replayJob({ requestId: ids.next(), jobId, taskKey });
    const each = (await replay("each")).job;
    expect(each?.tasks).toMatchObject({ total: 5, succeeded: 1, ready: 2, blocked: 2 });
    await harness.untilState(each?.jobId ?? "", JobState.COMPLETED);
    const whole = (await replay("list")).job;
    expect(whole?.tasks).toMatchObject({ total: 3, ready: 1, blocked: 2 });
    const done = await harness.untilState(whole?.jobId ?? "", JobState.COMPLETED);
    expect(done.tasks).toMatchObject({ total: 5, succeeded: 5 });
  });

  it("ends at once when nothing is left to run", async () => {
    const jobId = await harness.submit({ tasks: [list([]), mapped()] });
    await harness.untilState(jobId, JobState.COMPLETED);
    const request = { requestId: ids.next(), jobId, taskKey: "each" };
    const { job } = await harness.client.replayJob(request);
    expect(job).toMatchObject({ state: JobState.COMPLETED, tasks: { total: 2, succeeded: 2 } });
    expect(
      textOf((await harness.untilState(job?.jobId ?? "", JobState.COMPLETED)).results["each"]),
    ).toBe("[]");
  });
});

describe("random lists", () => {
  it("end as a simple model says, and complete when retried", async () => {
    const element = fc.constantFrom("good", "good", "good", "bad");
    const policy = fc.constantFrom(EdgePolicy.FAIL, EdgePolicy.SKIP, EdgePolicy.CONTINUE);
    const run = async (elements: string[], onFailure: EdgePolicy) => {
      const jobId = await harness.submit({ tasks: [list(elements), mapped(), sum(onFailure)] });
      const bad = elements.includes("bad");
      const ran = onFailure === EdgePolicy.CONTINUE;
      const failed = ran ? JobState.PARTIAL : JobState.FAILED;
      await harness.untilState(jobId, bad ? failed : JobState.COMPLETED);
      expect(await statesOf(jobId)).toEqual({
        list: "SUCCEEDED",
        each: bad ? "SKIPPED" : "SUCCEEDED",
        sum: bad && !ran ? "SKIPPED" : "SUCCEEDED",
        ...Object.fromEntries(
          elements.map((item, i) => [`each#${i}`, item === "bad" ? "FAILED" : "SUCCEEDED"]),
        ),
      });
      if (!bad) return;
      mended = true;
      const done = await harness.untilState((await retry(jobId)).jobId, JobState.COMPLETED);
      mended = false;
      const items = elements.map((item) => `<item="${item}">`);
      expect(textOf(done.results["sum"])).toBe(`<all=${JSON.stringify(items)}>`);
    };
    const lists = fc.array(element, { maxLength: 12 });
    await fc.assert(fc.asyncProperty(lists, policy, run), { numRuns: 12, seed: 3 });
    await expectClean();
  }, 60_000);
});
