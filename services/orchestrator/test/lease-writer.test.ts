import { TaskUpdateOutcome } from "@nexus/proto/mesh";
import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { createIds } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jobUuid } from "../src/store/row-ids.ts";
import { Harness } from "./_harness.ts";
import { type Behaviour, begin, echo } from "./_router.ts";

const ids = createIds();
const harness = new Harness();
beforeAll(() => harness.open());
afterAll(() => harness.close());

/** What a row is like that was just claimed, or just ended. */
const MOVES = {
  claims: "NEW.state = 'LEASED'",
  ends: "NEW.outcome IS NOT NULL",
  requeues: "NEW.state = 'READY'",
};

/** Has the database refuse moves of one agent's tasks; returns what lifts that. */
async function refuseMovesOf(
  agentId: string,
  moves: keyof typeof MOVES,
  errcode: "check_violation" | "query_canceled" = "check_violation",
) {
  const name = `refuse_${moves}`;
  await harness.db.query(`
    CREATE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'refused by the test' USING ERRCODE = '${errcode}'; END $$;
    CREATE TRIGGER ${name} BEFORE INSERT OR UPDATE ON task_states FOR EACH ROW
      WHEN (NEW.agent_id = '${agentId}' AND ${MOVES[moves]}) EXECUTE FUNCTION ${name}()`);
  return () => harness.db.query(`DROP TRIGGER ${name} ON task_states; DROP FUNCTION ${name}()`);
}

function submitTo(capability: string, count: number): Promise<string> {
  return harness.submit({
    tasks: Array.from({ length: count }, (_, i) => ({ key: `t${i}`, capability })),
  });
}

/** Holds a job's row, and with it the first transaction that changes the job and all behind it; returns what lets them go on. */
async function holdTransactions(jobId: string): Promise<() => Promise<void>> {
  const holder = await harness.db.connect();
  await holder.query("BEGIN");
  await holder.query("SELECT 1 FROM jobs WHERE job_id = $1 FOR UPDATE", [jobUuid(jobId)]);
  return async () => {
    await holder.query("COMMIT");
    holder.release();
  };
}

async function isHeldUp(): Promise<boolean> {
  const { rows } = await harness.db.query("SELECT 1 FROM pg_locks WHERE NOT granted");
  return rows.length > 0;
}

/** A metric, all its series together. */
async function metric(name: string): Promise<number> {
  const text = await (await fetch(`http://${harness.service.opsAddress}/metrics`)).text();
  const series = text.matchAll(new RegExp(`^nexus_orchestrator_${name}(?:{.*})? (\\d+)$`, "gm"));
  return [...series].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** Waits until so many choices are on their way into the tables. */
async function untilChosen(claims: number): Promise<void> {
  await waitFor(async () => (await metric("claims_in_flight")) === claims, { what: "a choice" });
}

describe("claims and ends that share a transaction", () => {
  it("go on when one end cannot be stored, which is answered STALE and leaves its lease", async () => {
    harness.agent({ agentId: "cursed", capabilities: ["cursed"], behaviour: begin });
    harness.agent({ agentId: "fine", capabilities: ["fine"], slots: 4, behaviour: echo });
    const lift = await refuseMovesOf("cursed", "ends");
    const cursed = await submitTo("cursed", 1);
    const received = await waitFor(
      () => harness.router.assignments.find((item) => item.assignment.jobId === cursed),
      { what: "the assignment" },
    );
    const fine = await submitTo("fine", 40);
    harness.router.complete(received, "done");
    await harness.untilState(fine, JobState.COMPLETED);
    const outcome = await waitFor(() => harness.router.outcomeOf(received), { what: "an answer" });
    expect(outcome).toBe(TaskUpdateOutcome.STALE);
    expect((await harness.tasksOf(cursed))["t0"]?.state).toBe(TaskState.RUNNING);
    await lift();
    harness.router.complete(received, "done");
    await harness.untilState(cursed, JobState.COMPLETED);
  });

  it("store what an agent with one slot gets next together with the end of what it had", async () => {
    harness.agent({ agentId: "single", capabilities: ["single"], slots: 1, behaviour: echo });
    const jobId = await submitTo("single", 10);
    await harness.untilState(jobId, JobState.COMPLETED);
    const { rows } = await harness.db.query<{ together: number }>(
      `SELECT count(*)::int AS together FROM task_states l JOIN task_states e ON e.ended_at = l.leased_at
        WHERE l.job_id = $1 AND e.job_id = $1`,
      [jobUuid(jobId)],
    );
    expect(rows[0]?.together).toBeGreaterThan(0);
  });

  it("go on when a task has a state row of which memory knows nothing", async () => {
    const jobId = await submitTo("known", 40);
    await harness.db.query(
      `INSERT INTO task_states (task_id, job_id, state, pending, ready_at)
       SELECT task_id, job_id, 'READY', 0, created_at FROM tasks WHERE job_id = $1 AND ordinal % 7 = 3`,
      [jobUuid(jobId)],
    );
    harness.agent({ agentId: "known", capabilities: ["known"], slots: 8, behaviour: echo });
    await harness.untilState(jobId, JobState.COMPLETED);
    const tasks = Object.values(await harness.tasksOf(jobId));
    expect(tasks.map(({ attempts }) => attempts)).toEqual(tasks.map(() => 1));
  });

  it("send an assignment again whose refusal could not be stored", async () => {
    let isWilling = false;
    const behaviour: Behaviour = (received, router) => {
      if (isWilling) echo(received, router);
      else router.refuse(received, "SESSION_TOO_SLOW");
    };
    harness.agent({ agentId: "moody", capabilities: ["moody"], behaviour });
    const lift = await refuseMovesOf("moody", "requeues", "query_canceled");
    const before = await metric("flush_failures_total");
    const jobId = await submitTo("moody", 1);
    await waitFor(async () => (await metric("flush_failures_total")) > before, {
      what: "a failure",
    });
    isWilling = true;
    await lift();
    await harness.untilState(jobId, JobState.COMPLETED);
    expect((await harness.tasksOf(jobId))["t0"]).toMatchObject({ attempts: 1 });
  });

  it("go on when one claim cannot be stored, which is tried again later", async () => {
    harness.agent({ agentId: "doomed", capabilities: ["doomed"], behaviour: echo });
    harness.agent({ agentId: "well", capabilities: ["well"], slots: 4, behaviour: echo });
    const lift = await refuseMovesOf("doomed", "claims");
    const [doomed, well] = await Promise.all([submitTo("doomed", 2), submitTo("well", 40)]);
    await harness.untilState(well, JobState.COMPLETED);
    expect((await harness.tasksOf(doomed))["t0"]).toMatchObject({
      state: TaskState.READY,
      attempts: 0,
    });
    await lift();
    await harness.untilState(doomed, JobState.COMPLETED);
    const tasks = Object.values(await harness.tasksOf(doomed));
    expect(tasks.map(({ attempts }) => attempts)).toEqual([1, 1]);
  });

  it("give a task once that was chosen again, as its job was paused and resumed while its claim waited", async () => {
    const before = await metric("flush_failures_total");
    const [blocker, first, twice] = [
      await submitTo("never", 1),
      await submitTo("first", 1),
      await submitTo("twice", 1),
    ];
    const release = await holdTransactions(blocker);
    const calls: Promise<unknown>[] = [
      harness.client.pauseJob({ requestId: ids.next(), jobId: blocker }),
    ];
    await waitFor(isHeldUp, { what: "the transactions to be held up" });
    calls.push(harness.client.pauseJob({ requestId: ids.next(), jobId: twice }));
    calls.push(harness.client.resumeJob({ requestId: ids.next(), jobId: twice }));
    await harness.client.getJob({ jobId: twice });
    // What this one claims is stored behind the resume, and what is chosen meanwhile together after it.
    harness.agent({ agentId: "first", capabilities: ["first"], behaviour: echo });
    await untilChosen(1);
    harness.agent({ agentId: "twice", capabilities: ["twice"], slots: 2, behaviour: echo });
    await untilChosen(2);
    await release();
    await Promise.all(calls);
    await harness.untilState(first, JobState.COMPLETED);
    await harness.untilState(twice, JobState.COMPLETED);
    const given = harness.router.assignments.filter((item) => item.assignment.jobId === twice);
    expect(given).toHaveLength(1);
    expect(await metric("flush_failures_total")).toBe(before);
    // Both of the agent's slots are free again.
    await harness.untilState(await submitTo("twice", 2), JobState.COMPLETED);
  });
});
