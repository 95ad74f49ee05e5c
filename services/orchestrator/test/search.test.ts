import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { JobState, type Task, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { listJobs } from "../src/store/job-search.ts";
import { searchTasks } from "../src/store/task-search.ts";
import { expectError } from "./_expect.ts";
import { type Client, Harness } from "./_harness.ts";
import { type Behaviour, silent } from "./_router.ts";

const harness = new Harness();
let bob: Client;

/** Fails what is called `bad`, once and for all, and completes the rest. */
const picky: Behaviour = (received, router) => {
  router.accept(received);
  if (received.assignment.taskKey === "bad") {
    router.fail(received, "BROKEN", { retryable: false });
  } else router.complete(received, "done");
};

/** Ids of the jobs by what they are. */
const made: Record<string, string> = {};

beforeAll(async () => {
  await harness.open();
  bob = await harness.clientOf("bob");
  harness.agent({ agentId: "worker", capabilities: ["work"], behaviour: picky });
  harness.agent({ agentId: "holder", capabilities: ["hold"], behaviour: silent });
  const work = (key: string) => ({ key, capability: "work" });
  made["good"] = await harness.submit({ labels: { kind: "a" }, tasks: [work("one"), work("two")] });
  await harness.untilState(made["good"], JobState.COMPLETED);
  made["mixed"] = await harness.submit({
    labels: { kind: "b" },
    tasks: [work("bad"), work("fine")],
  });
  await harness.untilState(made["mixed"], JobState.FAILED);
  const held = await bob.submitJob({
    requestId: "held",
    tasks: [{ key: "held", capability: "hold" }],
  });
  made["held"] = held.job?.jobId ?? "";
  await waitFor(async () => (await taskOf("held", "held")).state === TaskState.LEASED, {
    what: "the held task to be leased",
  });
  made["waits"] = await harness.submit({ tasks: [{ key: "lonely", capability: "nobody-has" }] });
});
afterAll(() => harness.close());

async function taskOf(name: string, key: string): Promise<Task> {
  const task = (await harness.tasksOf(made[name] ?? ""))[key];
  if (task === undefined) throw new Error(`no task ${key}`);
  return task;
}

async function keysOf(request: Parameters<Client["searchTasks"]>[0]): Promise<string[]> {
  const { tasks } = await harness.client.searchTasks(request);
  return tasks.map((task) => task.spec?.key ?? "");
}

async function namesOf(request: Parameters<Client["listJobs"]>[0]): Promise<string[]> {
  const names = new Map(Object.entries(made).map(([name, jobId]) => [jobId, name]));
  const { jobs } = await harness.client.listJobs(request);
  return jobs.map(({ jobId }) => names.get(jobId) ?? jobId);
}

describe("SearchTasks", () => {
  it("finds tasks across jobs, newest first, with who had them and when", async () => {
    const keys = await keysOf({});
    expect(keys.slice(0, 2)).toEqual(["lonely", "held"]);
    expect(keys.slice(2).sort()).toEqual(["bad", "fine", "one", "two"]);
    const { tasks } = await harness.client.searchTasks({ failureReason: "BROKEN" });
    expect(tasks).toHaveLength(1);
    expect(tasks[0]).toMatchObject({
      jobId: made["mixed"],
      agentId: "worker",
      attempts: 1,
      state: TaskState.FAILED,
      failure: { reason: "BROKEN" },
    });
    const { createTime, leaseTime, endTime } = tasks[0] as Task;
    expect([createTime, leaseTime, endTime]).not.toContain(undefined);
  });

  it("filters by state, capability, agent, labels of the job and time, all at once", async () => {
    const done = [TaskState.SUCCEEDED];
    expect((await keysOf({ states: done })).sort()).toEqual(["fine", "one", "two"]);
    expect(await keysOf({ states: done, jobLabels: { kind: "b" } })).toEqual(["fine"]);
    expect(await keysOf({ capability: "nobody-has" })).toEqual(["lonely"]);
    expect(await keysOf({ agentId: "holder" })).toEqual(["held"]);
    expect((await keysOf({ agentId: "worker" })).sort()).toEqual(["bad", "fine", "one", "two"]);
    expect(await keysOf({ agentId: "worker", capability: "hold" })).toEqual([]);
    const { createTime } = await taskOf("mixed", "bad");
    const since = await keysOf({ createdFrom: createTime });
    expect(since.sort()).toEqual(["bad", "fine", "held", "lonely"]);
    expect((await keysOf({ createdUntil: createTime })).sort()).toEqual(["one", "two"]);
    const { endTime } = await taskOf("mixed", "bad");
    const ended = await keysOf({ endedFrom: endTime, states: [TaskState.FAILED] });
    expect(ended).toEqual(["bad"]);
    expect(await keysOf({ endedUntil: endTime, states: [TaskState.FAILED] })).toEqual([]);
  });

  it("finds a task by an agent that had it before another one", async () => {
    harness.agent({
      agentId: "first",
      capabilities: ["pass"],
      behaviour: (received, router) => router.fail(received, "TIRED"),
    });
    const jobId = await harness.submit({
      tasks: [{ key: "passed", capability: "pass", retry: { maxAttempts: 2, initialDelay: {} } }],
    });
    await harness.untilState(jobId, JobState.FAILED);
    await harness.db.query("UPDATE task_states SET agent_id = 'second' WHERE agent_id = 'first'");
    expect(await keysOf({ agentId: "first" })).toEqual(["passed"]);
    expect(await keysOf({ agentId: "second" })).toEqual(["passed"]);
    made["passed"] = jobId;
    expect(await namesOf({ agentId: "first" })).toEqual(["passed"]);
  });

  it("pages without gaps or repeats, with and without a filter", async () => {
    const walk = async (request: { readonly agentId?: string }) => {
      const seen: string[] = [];
      for (let pageToken = "", more = true; more; more = pageToken !== "") {
        const page = { pageSize: 2, pageToken };
        const answer = await harness.client.searchTasks({ ...request, page });
        expect(answer.tasks.length).toBeLessThanOrEqual(2);
        seen.push(...answer.tasks.map(({ taskId }) => taskId));
        pageToken = answer.page?.nextPageToken ?? "";
      }
      return seen;
    };
    for (const request of [{}, { agentId: "worker" }]) {
      const { tasks } = await harness.client.searchTasks(request);
      expect(await walk(request)).toEqual(tasks.map(({ taskId }) => taskId));
    }
  });

  it("refuses a token of another list, a page beyond the limit and a range that ends first", async () => {
    const { page } = await harness.client.listJobs({ page: { pageSize: 1 } });
    const pageToken = page?.nextPageToken ?? "";
    const alien = harness.client.searchTasks({ page: { pageSize: 1, pageToken } });
    await expectError(alien, "invalid", "PAGE_TOKEN_INVALID");
    const large = harness.client.searchTasks({ page: { pageSize: 1_001 } });
    await expectError(large, "invalid", "REQUEST_INVALID");
    const [early, late] = [new Date(1_000), new Date(2_000)].map(timestampFromDate);
    const turned = { createdFrom: late, createdUntil: early };
    await expectError(harness.client.searchTasks(turned), "invalid", "TIME_RANGE_INVALID");
    const jobs = harness.client.listJobs({ endedFrom: late, endedUntil: early });
    await expectError(jobs, "invalid", "TIME_RANGE_INVALID");
  });

  it("shows nothing to other namespaces, and refuses who lacks the scope", async () => {
    const stranger = await harness.clientOf("mallory", { ns: "other" });
    expect((await stranger.searchTasks({})).tasks).toEqual([]);
    const outsider = await harness.clientOf("nobody", { scopes: [] });
    await expectError(outsider.searchTasks({}), "forbidden", "SCOPE_MISSING");
  });
});

describe("ListJobs", () => {
  it("filters by capability, agent, principal, labels and time, all at once", async () => {
    expect(await namesOf({ capability: "work" })).toEqual(["mixed", "good"]);
    expect(await namesOf({ agentId: "holder" })).toEqual(["held"]);
    expect(await namesOf({ principalId: "bob" })).toEqual(["held"]);
    expect(await namesOf({ agentId: "worker", states: [JobState.FAILED] })).toEqual(["mixed"]);
    expect(await namesOf({ labels: { kind: "a" }, capability: "work" })).toEqual(["good"]);
    expect(await namesOf({ labels: { kind: "a" }, capability: "hold" })).toEqual([]);
    const { job: mixed } = await harness.client.getJob({ jobId: made["mixed"] ?? "" });
    const until = { createdUntil: mixed?.createTime };
    expect(await namesOf(until)).toEqual(["good"]);
    const range = { createdFrom: mixed?.createTime, principalId: "alice" };
    expect((await namesOf(range)).slice(-2)).toEqual(["waits", "mixed"]);
    expect(await namesOf({ endedFrom: mixed?.endTime, capability: "work" })).toEqual(["mixed"]);
    expect(await namesOf({ endedUntil: mixed?.endTime })).toEqual(["good"]);
  });
});

describe("a walk over more rows than one call looks at", () => {
  const anyTime = { from: undefined, until: undefined };

  it("goes on behind the last one that was looked at, until all were", async () => {
    await harness.db.query(`
      INSERT INTO jobs (job_id, shard, namespace, principal_id, objective, priority, labels, traceparent, state, total,
                        blocked, ready)
      SELECT gen_random_uuid(), 0, 'big', CASE WHEN n IN (7, 1500) THEN 'rare' ELSE 'p' END, '', 0, '{}', '', 'PENDING', 0,
             0, 0
        FROM generate_series(1, 2500) n`);
    await harness.db.query(`
      INSERT INTO tasks (task_id, job_id, shard, namespace, ordinal, task_key, capability, priority, planning, sink,
                         has_upstream, spec)
      SELECT gen_random_uuid(), gen_random_uuid(), 0, 'big', 0, 't' || n,
             CASE WHEN n IN (3, 21000) THEN 'rare' ELSE 'x' END, 0, false, true, false, '{}'
        FROM generate_series(1, 25000) n`);
    await harness.db.query(`
      INSERT INTO task_states (task_id, job_id, state, pending)
      SELECT task_id, job_id, 'READY', 0 FROM tasks WHERE namespace = 'big'`);
    const common = { namespace: "big", labels: {}, created: anyTime, ended: anyTime, pageSize: 10 };
    const nobody = { states: [], capability: "", agentId: "", principalId: "" };
    const walk = async (step: (pageToken: string) => Promise<[number, string]>) => {
      const counts: number[] = [];
      for (let pageToken = "", more = true; more; more = pageToken !== "") {
        const [count, next] = await step(pageToken);
        counts.push(count);
        pageToken = next;
      }
      return counts;
    };
    const jobs = await walk(async (pageToken) => {
      const filter = { ...common, ...nobody, principalId: "rare", pageToken };
      const page = await listJobs(harness.db, filter);
      return [page.jobs.length, page.nextPageToken];
    });
    expect(jobs).toHaveLength(3);
    expect(jobs.reduce((sum, count) => sum + count)).toBe(2);
    const tasks = await walk(async (pageToken) => {
      const search = { ...common, ...nobody, jobLabels: {}, failureReason: "", capability: "rare" };
      const page = await searchTasks(harness.db, { ...search, pageToken });
      return [page.tasks.length, page.nextPageToken];
    });
    expect(tasks).toHaveLength(3);
    expect(tasks.reduce((sum, count) => sum + count)).toBe(2);
  });

  it("is served by the index on tasks by age", async () => {
    const { rows } = await harness.db.query<{ "QUERY PLAN": string }>(`
      EXPLAIN SELECT task_id FROM tasks
       WHERE namespace = 'default' AND created_at >= '-infinity' AND (created_at, task_id) < ('infinity', gen_random_uuid())
       ORDER BY created_at DESC, task_id DESC LIMIT 100`);
    expect(rows.map((row) => row["QUERY PLAN"]).join("\n")).toContain("tasks_newest");
  });
});
