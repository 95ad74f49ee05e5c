import type { Pool } from "@nexus/postgres";
import { createIds } from "@nexus/shared";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type JobEvent, type TaskChange, toJobEvents } from "../src/domain/job-event.ts";
import { appendEvents, readEvents } from "../src/store/event-store.ts";
import { type OpenDatabase, openDatabase } from "./_database.ts";

const ids = createIds();
let open: OpenDatabase;
let pool: Pool;

beforeAll(async () => {
  open = await openDatabase();
  pool = open.pool;
});
afterAll(() => open.close());

function changesOf(jobId: string, count: number): TaskChange[] {
  return Array.from({ length: count }, (_, index) => ({
    kind: "task",
    jobId,
    taskId: ids.next("task"),
    taskKey: `t${index}`,
    state: "LEASED",
    attempt: 1,
    agentId: "ann",
    failure: undefined,
  }));
}

/** A task's id as the database writes it. */
function dashed(taskId: string): string {
  return taskId.replace(/^task_(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

const since = new Date(0);

/** Reads a job's history in pages of this size. */
async function readAll(jobId: string, limit: number): Promise<JobEvent[]> {
  const all: JobEvent[] = [];
  for (;;) {
    const page = await readEvents(pool, jobId, all.at(-1)?.sequence ?? 0n, { since, limit });
    all.push(...page);
    if (page.length < limit) return all;
    expect(page.length).toBe(limit);
  }
}

describe("the history of a job", () => {
  it("has a row for each job and transaction, and a number for each change", async () => {
    const [one, other] = [ids.next("job"), ids.next("job")];
    const [a, b, c] = [changesOf(one, 1), changesOf(other, 2), changesOf(one, 2)];
    const told = (await appendEvents(pool, [...a, ...b, ...c])).flatMap(toJobEvents);
    expect(told.map(({ change }) => change)).toEqual([...a, ...c, ...b]);
    expect(new Set(told.map(({ sequence }) => sequence)).size).toBe(5);
    const failure = { reason: "BROKEN", message: 'it "broke"', taskKey: "t0" };
    const end = { kind: "job", jobId: one, state: "FAILED", failure } as const;
    const later = (await appendEvents(pool, [end])).flatMap(toJobEvents);
    expect(await readEvents(pool, one, 0n, { since, limit: 10 })).toEqual(
      [...told.slice(0, 3), ...later].map((event) => ({ ...event, at: expect.any(Date) })),
    );
    const { rows } = await pool.query<{ job_id: string; events: number }>(
      "SELECT job_id, events FROM job_events ORDER BY sequence",
    );
    expect(rows.map(({ events }) => events)).toEqual([3, 2, 1]);
  });

  it("is read in pages that begin and end inside of rows, without gaps or repeats", async () => {
    const jobId = ids.next("job");
    const sizes = [700, 3, 1, 513];
    const keys: string[] = [];
    for (const size of sizes) {
      const changes = changesOf(jobId, size);
      keys.push(...changes.map(({ taskId }) => taskId));
      await appendEvents(pool, changes);
    }
    for (const limit of [1_000, 512, 100, 7]) {
      const events = await readAll(jobId, limit);
      const numbers = events.map(({ sequence }) => sequence);
      expect(numbers).toEqual([...new Set(numbers)].sort((x, y) => (x < y ? -1 : 1)));
      const seen = events.map(({ change }) => (change.kind === "task" ? change.taskId : ""));
      expect(seen).toEqual(keys);
    }
  });

  it("keeps apart what differs in any part, and says the rest once", async () => {
    const jobId = ids.next("job");
    const failed = (reason: string, message: string, taskKey: string) =>
      ({ state: "FAILED", failure: { reason, message, taskKey } }) as const;
    const differing = [
      { state: "RUNNING" },
      { attempt: 2 },
      { agentId: "ben" },
      { attempt: 0, agentId: "" },
      failed("BROKEN", "it broke", ""),
      failed("BROKEN", "it broke", "t0"),
      failed("BROKEN", "it broke twice", "t0"),
      failed("LOST", "", "t0"),
    ] as const;
    const changes = [{}, ...differing, {}, ...differing].map((parts, index) => ({
      ...(changesOf(jobId, 1)[0] as TaskChange),
      taskKey: `t${index}`,
      ...parts,
    }));
    const ends = [undefined, failed("BROKEN", "it broke", "t0").failure].map(
      (failure) => ({ kind: "job", jobId, state: "FAILED", failure }) as const,
    );
    await appendEvents(pool, [...changes, ...ends]);
    const events = await readEvents(pool, jobId, 0n, { since, limit: 100 });
    expect(events.map(({ change }) => change)).toEqual([...changes, ...ends]);
    const { rows } = await pool.query<{ kinds: number }>(
      "SELECT json_array_length(changes -> 'kinds') AS kinds FROM job_events WHERE job_id = $1",
      [jobId.slice("job_".length)],
    );
    expect(rows).toEqual([{ kinds: 1 + differing.length + ends.length }]);
  });

  it("is shown one row a change to people who ask the database", async () => {
    const jobId = ids.next("job");
    const failure = { reason: "BROKEN", message: "it broke", taskKey: "t0" };
    const end = { kind: "job", jobId, state: "FAILED", failure } as const;
    const changes = changesOf(jobId, 3);
    const told = (await appendEvents(pool, [...changes, end])).flatMap(toJobEvents);
    const { rows } = await pool.query(
      `SELECT sequence, task_id, task_key, state, attempt, agent_id, failure_reason, failure_message, failure_task_key
         FROM task_events WHERE job_id = $1 ORDER BY sequence`,
      [jobId.slice("job_".length)],
    );
    const none = { failure_reason: null, failure_message: null, failure_task_key: null };
    const ofTasks = changes.map(({ taskId, taskKey }, index) => ({
      ...{ sequence: `${told[index]?.sequence}`, task_id: dashed(taskId), task_key: taskKey },
      ...{ state: "LEASED", attempt: 1, agent_id: "ann", ...none },
    }));
    const ofJob = {
      ...{ sequence: `${told[3]?.sequence}`, task_id: null, task_key: null, state: "FAILED" },
      ...{ attempt: 0, agent_id: "", failure_reason: "BROKEN", failure_message: "it broke" },
      failure_task_key: "t0",
    };
    expect(rows).toEqual([...ofTasks, ofJob]);
  });
});
