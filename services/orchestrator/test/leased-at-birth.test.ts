import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Harness } from "./_harness.ts";
import { begin, echo } from "./_router.ts";

const SLOTS = 4;
const harness = new Harness();
beforeAll(() => harness.open());
afterAll(() => harness.close());

function tasksFor(capability: string, count: number) {
  return Array.from({ length: count }, (_, i) => ({ key: `t${i}`, capability }));
}

/** Registers an agent and waits until one task of its capability went through it. */
async function knownAgent(capability: string, behaviour = echo): Promise<void> {
  harness.agent({ agentId: capability, capabilities: [capability], slots: SLOTS, behaviour: echo });
  const jobId = await harness.submit({ tasks: tasksFor(capability, 1) });
  await harness.untilState(jobId, JobState.COMPLETED);
  harness.agent({ agentId: capability, capabilities: [capability], slots: SLOTS, behaviour });
}

/** Counts what a job has written so far. */
async function rowsOf(jobId: string) {
  const { rows } = await harness.db.query<{ ready: number; leases: number; events: number }>(
    `SELECT (SELECT count(*)::int FROM ready JOIN tasks USING (task_id) WHERE job_id = $1) AS ready,
            (SELECT count(*)::int FROM leases WHERE job_id = $1) AS leases,
            (SELECT count(*)::int FROM job_events WHERE job_id = $1) AS events`,
    [uuidOf(jobId)],
  );
  return rows[0];
}

function uuidOf(id: string): string {
  const [, hex = ""] = id.split("_");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

describe("a task that an agent is free for", () => {
  it("is stored with its lease, and its job is running when the submission is answered", async () => {
    await knownAgent("held", begin);
    const { job } = await harness.client.submitJob({
      requestId: "held",
      tasks: [
        ...tasksFor("held", 2),
        { key: "last", capability: "held", dependencies: [{ taskKey: "t0" }] },
      ],
    });
    const jobId = job?.jobId ?? "";
    expect(job).toMatchObject({
      state: JobState.RUNNING,
      tasks: { total: 3, active: 2, blocked: 1, ready: 0 },
    });
    expect(job?.startTime).toEqual(job?.createTime);
    expect(await rowsOf(jobId)).toEqual({ ready: 0, leases: 2, events: expect.any(Number) });
    const tasks = await harness.tasksOf(jobId);
    for (const key of ["t0", "t1"]) {
      expect(tasks[key]).toMatchObject({ attempts: 1 });
      expect(tasks[key]?.leaseTime).toEqual(tasks[key]?.readyTime);
    }
    expect(tasks["last"]).toMatchObject({ state: TaskState.BLOCKED, attempts: 0 });
  });

  it("is told of in order, from PENDING on", async () => {
    await knownAgent("told");
    const jobId = await harness.submit({ tasks: tasksFor("told", 1) });
    await harness.untilState(jobId, JobState.COMPLETED);
    const states: string[] = [];
    for await (const { events } of harness.client.watchJob({ jobId })) {
      for (const { event } of events) {
        if (event.case === "jobChanged") states.push(`job ${JobState[event.value.state]}`);
        if (event.case === "taskChanged") states.push(`task ${TaskState[event.value.state]}`);
      }
    }
    // An agent that is done at once says only that.
    expect(states.filter((state) => state !== "task RUNNING")).toEqual([
      "job PENDING",
      "job RUNNING",
      "task LEASED",
      "task SUCCEEDED",
      "job COMPLETED",
    ]);
  });

  it("takes no more slots than there are; the rest waits, and nothing passes it", async () => {
    await knownAgent("narrow", begin);
    const first = await harness.client.submitJob({
      requestId: "narrow-1",
      tasks: tasksFor("narrow", SLOTS + 2),
    });
    expect(first.job?.tasks).toMatchObject({ active: SLOTS, ready: 2 });
    const second = await harness.client.submitJob({
      requestId: "narrow-2",
      tasks: tasksFor("narrow", 1),
    });
    expect(second.job).toMatchObject({ state: JobState.PENDING, tasks: { ready: 1 } });
    const [held] = harness.router.assignments.filter(
      ({ assignment }) => assignment.jobId === first.job?.jobId,
    );
    if (held === undefined) throw new Error("no assignment");
    harness.router.complete(held, "done");
    await waitFor(
      async () =>
        (await harness.client.getJob({ jobId: first.job?.jobId ?? "" })).job?.tasks?.ready === 1,
      { what: "the one that waited longest to go next" },
    );
    expect((await harness.client.getJob({ jobId: second.job?.jobId ?? "" })).job?.state).toBe(
      JobState.PENDING,
    );
  });

  it("keeps no slot when its submission turns out to be a repeat", async () => {
    await knownAgent("again");
    const request = { requestId: "again", tasks: tasksFor("again", SLOTS) };
    const { job } = await harness.client.submitJob(request);
    const jobId = job?.jobId ?? "";
    await harness.untilState(jobId, JobState.COMPLETED);
    // In one flush with new ones, which must be stored all the same.
    const fresh = () => harness.submit({ tasks: tasksFor("again", 1) });
    const answers = await Promise.all([
      harness.client.submitJob(request).then((answer) => answer.job?.jobId),
      fresh(),
      harness.client.submitJob(request).then((answer) => answer.job?.jobId),
      fresh(),
    ]);
    expect([answers[0], answers[2]]).toEqual([jobId, jobId]);
    await harness.untilState(answers[1] ?? "", JobState.COMPLETED);
    await harness.untilState(answers[3] ?? "", JobState.COMPLETED);
    const all = await harness.client.submitJob({
      requestId: "all",
      tasks: tasksFor("again", SLOTS),
    });
    expect(all.job?.tasks).toMatchObject({ active: SLOTS, ready: 0 });
  });

  it("keeps no slot when the database refuses its lease", async () => {
    await knownAgent("barred");
    await harness.db.query(`
      CREATE FUNCTION bar() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'refused by the test' USING ERRCODE = 'check_violation'; END $$;
      CREATE TRIGGER bar BEFORE INSERT OR UPDATE ON task_states FOR EACH ROW
        WHEN (NEW.agent_id = 'barred') EXECUTE FUNCTION bar()`);
    const { job } = await harness.client.submitJob({
      requestId: "barred",
      tasks: tasksFor("barred", 1),
    });
    expect(job).toMatchObject({ state: JobState.PENDING, tasks: { ready: 1 } });
    await harness.db.query("DROP TRIGGER bar ON task_states; DROP FUNCTION bar()");
    await harness.untilState(job?.jobId ?? "", JobState.COMPLETED);
    const all = await harness.client.submitJob({
      requestId: "barred-all",
      tasks: tasksFor("barred", SLOTS),
    });
    expect(all.job?.tasks).toMatchObject({ active: SLOTS, ready: 0 });
  });
});
