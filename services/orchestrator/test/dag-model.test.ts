import { EdgePolicy, type Job, JobState, TaskState } from "@nexus/proto/orchestrator";
import { createIds } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Harness } from "./_harness.ts";
import type { Behaviour } from "./_router.ts";

const RUNS = 12;
const TASKS_MAX = 40;

/** What a task's agent does: the letter is part of the key, so that the agent needs no memory. */
type Fate = "ok" | "bad" | "flaky" | "lazy";

interface Node {
  readonly key: string;
  readonly fate: Fate;
  readonly parents: readonly Edge[];
}

interface Edge {
  readonly from: number;
  readonly policy: EdgePolicy;
}

const POLICIES = [
  EdgePolicy.UNSPECIFIED,
  EdgePolicy.FAIL,
  EdgePolicy.SKIP,
  EdgePolicy.SKIP,
  EdgePolicy.CONTINUE,
  EdgePolicy.CONTINUE,
];

/** A random graph: each task depends on some of those before it. */
const graphs: fc.Arbitrary<readonly Node[]> = fc
  .array(
    fc.record({
      fate: fc.constantFrom<Fate>("ok", "ok", "ok", "ok", "ok", "flaky", "lazy", "bad"),
      picks: fc.array(fc.tuple(fc.nat(), fc.constantFrom(...POLICIES)), { maxLength: 4 }),
    }),
    { minLength: 1, maxLength: TASKS_MAX },
  )
  .map((drafts) =>
    drafts.map(({ fate, picks }, index) => ({
      key: `${fate}-${index}`,
      fate,
      parents: index === 0 ? [] : picks.map(([pick, policy]) => ({ from: pick % index, policy })),
    })),
  );

/** The reference: a task runs when each parent succeeded or its edge says CONTINUE, and succeeds when its own fate is not
 * bad. */
function expectedStates(graph: readonly Node[]): TaskState[] {
  const states: TaskState[] = [];
  for (const { fate, parents } of graph) {
    const ready = parents.every(
      ({ from, policy }) => states[from] === TaskState.SUCCEEDED || policy === EdgePolicy.CONTINUE,
    );
    const ended = fate === "bad" ? TaskState.FAILED : TaskState.SUCCEEDED;
    states.push(ready ? ended : TaskState.SKIPPED);
  }
  return states;
}

/** The reference: a failure is tolerated when it has edges and each says SKIP or CONTINUE. */
function expectedEnd(graph: readonly Node[], states: readonly TaskState[]): JobState {
  const edgesOf = graph.map((_node, index) =>
    graph.flatMap(({ parents }) => parents.filter(({ from }) => from === index)),
  );
  const failed = edgesOf.filter((_edges, index) => states[index] === TaskState.FAILED);
  if (failed.length === 0) return JobState.COMPLETED;
  const tolerated = failed.every(
    (edges) =>
      edges.length > 0 &&
      edges.every(({ policy }) => policy === EdgePolicy.SKIP || policy === EdgePolicy.CONTINUE),
  );
  const result = edgesOf.some(
    (edges, index) => edges.length === 0 && states[index] === TaskState.SUCCEEDED,
  );
  return tolerated && result ? JobState.PARTIAL : JobState.FAILED;
}

/** The reference: what succeeded is kept, unless it stands on something that runs again. */
function expectedKept(graph: readonly Node[], isRedone: (index: number) => boolean): boolean[] {
  const kept: boolean[] = [];
  for (const [index, { parents }] of graph.entries()) {
    kept.push(!isRedone(index) && parents.every(({ from }) => kept[from] === true));
  }
  return kept;
}

const ids = createIds();
/** Set while bad tasks are mended: then they succeed. */
let mended = false;

const live: Behaviour = (received, router) => {
  const { taskKey, attempt } = received.assignment;
  router.accept(received);
  if (taskKey.startsWith("bad") && !mended) router.fail(received, "BAD", { retryable: false });
  else if (taskKey.startsWith("flaky") && attempt === 1) router.fail(received);
  else if (taskKey.startsWith("lazy") && attempt === 1) router.release(received);
  else router.complete(received, taskKey);
};

const harness = new Harness();
beforeAll(async () => {
  await harness.open();
  harness.agent({ agentId: "one", capabilities: ["x"], slots: 10, behaviour: live });
  harness.agent({ agentId: "two", capabilities: ["x"], slots: 10, behaviour: live });
});
afterAll(() => harness.close());

function submit(graph: readonly Node[]): Promise<string> {
  return harness.submit({
    tasks: graph.map(({ key, parents }) => ({
      key,
      capability: "x",
      dependencies: parents.map(({ from, policy }) => ({
        taskKey: graph[from]?.key ?? "",
        onFailure: policy,
      })),
      retry: { initialDelay: { nanos: 1_000_000 } },
    })),
  });
}

async function untilEnd(jobId: string): Promise<Job> {
  return waitFor(
    async () => {
      const { job } = await harness.client.getJob({ jobId });
      return job?.endTime === undefined ? undefined : job;
    },
    { what: `the end of ${jobId}`, timeoutMs: 25_000 },
  );
}

/** Checks that a job ended as the model says. */
async function expectEnd(jobId: string, graph: readonly Node[]): Promise<void> {
  const expected = expectedStates(graph);
  const job = await untilEnd(jobId);
  expect(JobState[job.state]).toBe(JobState[expectedEnd(graph, expected)]);
  const tasks = await harness.tasksOf(jobId);
  expect(graph.map(({ key }) => tasks[key]?.state)).toEqual(expected);
  expect(job.tasks).toMatchObject({ total: graph.length, blocked: 0, ready: 0, active: 0 });
}

/** Checks which tasks of a generation are kept, and that each of the others ran once in it. */
async function expectKept(jobId: string, graph: readonly Node[], kept: readonly boolean[]) {
  const tasks = await harness.tasksOf(jobId);
  expect(graph.map(({ key }) => tasks[key]?.reusedFromTaskId !== "")).toEqual(kept);
}

/** Retries an ended job with all that was bad mended, and checks that it completes and keeps what it may. */
async function retryMended(jobId: string, graph: readonly Node[]): Promise<void> {
  const before = await harness.tasksOf(jobId);
  mended = true;
  const { job } = await harness.client.retryJob({ requestId: ids.next(), jobId });
  const next = await untilEnd(job?.jobId ?? "");
  mended = false;
  expect(JobState[next.state]).toBe("COMPLETED");
  const isRedone = (index: number) =>
    before[graph[index]?.key ?? ""]?.state !== TaskState.SUCCEEDED;
  await expectKept(next.jobId, graph, expectedKept(graph, isRedone));
}

async function runGraph(graph: readonly Node[]): Promise<void> {
  const jobId = await submit(graph);
  await expectEnd(jobId, graph);
  const states = expectedStates(graph);
  if (states.some((state) => state !== TaskState.SUCCEEDED)) await retryMended(jobId, graph);
  // From the middle, with the same fates: the same end again.
  const from = Math.floor(graph.length / 2);
  const taskKey = graph[from]?.key ?? "";
  const { job } = await harness.client.replayJob({ requestId: ids.next(), jobId, taskKey });
  await expectEnd(job?.jobId ?? "", graph);
  const isRedone = (index: number) => index === from || states[index] !== TaskState.SUCCEEDED;
  await expectKept(job?.jobId ?? "", graph, expectedKept(graph, isRedone));
}

async function cancelGraph(graph: readonly Node[], assignments: number): Promise<void> {
  const seen = harness.router.assignments.length;
  const jobId = await submit(graph);
  await waitFor(() => harness.router.assignments.length >= seen + assignments, { what: "a start" });
  const answer = await harness.client.cancelJob({ requestId: ids.next(), jobId });
  const job = await untilEnd(jobId);
  const tasks = Object.values(await harness.tasksOf(jobId));
  const cancelled = tasks.filter((task) => task.state === TaskState.CANCELLED);
  const { neverStarted, betweenAttempts, toldToStop } = answer;
  expect(neverStarted + betweenAttempts + toldToStop).toBe(cancelled.length);
  expect(cancelled.filter((task) => task.attempts === 0)).toHaveLength(neverStarted);
  expect(job.tasks).toMatchObject({ cancelled: cancelled.length, blocked: 0, ready: 0, active: 0 });
  if (job.state !== JobState.COMPLETED) await retryMended(jobId, graph);
}

describe("random graphs", () => {
  it("are cancelled anywhere, say so honestly, and complete when retried", async () => {
    await fc.assert(fc.asyncProperty(graphs, fc.nat(1), cancelGraph), { numRuns: RUNS, seed: 11 });
    expect(await harness.count("ready")).toBe(0);
    expect(await harness.count("leases")).toBe(0);
  }, 120_000);

  it("end as a simple model says, whatever fails, is tried again or given back, retried and replayed", async () => {
    await fc.assert(fc.asyncProperty(graphs, runGraph), { numRuns: RUNS, seed: 7 });
    expect(await harness.count("ready")).toBe(0);
    expect(await harness.count("leases")).toBe(0);
    const { rows } = await harness.db.query(
      `SELECT task_id FROM task_events WHERE state IN ('SUCCEEDED', 'FAILED', 'SKIPPED', 'CANCELLED')
          AND task_id IS NOT NULL GROUP BY task_id HAVING count(*) > 1`,
    );
    expect(rows).toEqual([]);
  }, 120_000);
});
