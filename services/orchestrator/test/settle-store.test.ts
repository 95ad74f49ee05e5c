import type { Pool } from "@nexus/postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Claim, LiveTask } from "../src/domain/live-task.ts";
import { type Ending, settle } from "../src/domain/settlement.ts";
import { DEFAULT_RETRY } from "../src/domain/task.ts";
import { acceptTasks } from "../src/store/accept-store.ts";
import { claimTasks } from "../src/store/claim-store.ts";
import { jobUuid } from "../src/store/row-ids.ts";
import { settleLeases } from "../src/store/settle-store.ts";
import { type OpenDatabase, openDatabase } from "./_database.ts";
import { claimOf, insertJob } from "./_stored-jobs.ts";
import { spec } from "./_task-spec.ts";

let open: OpenDatabase;
let pool: Pool;

beforeAll(async () => {
  open = await openDatabase();
  pool = open.pool;
});
afterAll(() => open.close());

const OUTPUT = { contentType: "text/plain", data: Buffer.from("out") };
const POLICY = {
  retry: { ...DEFAULT_RETRY, initialDelayMs: 60_000, jitter: 0 },
  uncostedAttemptsMax: 10,
  random: () => 0,
};

describe("claims of one moment", () => {
  it("have fences above all that were drawn before, however many a draw gives", async () => {
    const { ready } = await insertJob(pool, ...["a", "b", "c", "d"].map((key) => spec(key)));
    const [a, b, c, d] = ready.map((task) => claimOf(task)) as [Claim, Claim, Claim, Claim];
    const fences = [
      ...(await claimTasks(pool, [a, b], true)),
      ...(await claimTasks(pool, [c])),
      ...(await claimTasks(pool, [d], true)),
    ].map((lease) => lease?.fence ?? 0n);
    expect(fences).toEqual([...new Set(fences)].sort((x, y) => (x < y ? -1 : 1)));
    expect(fences[1]).toBe((fences[0] ?? 0n) + 1n);
  });

  it("share no fence with others where there are more of them than a draw gives fences", async () => {
    const { ready } = await insertJob(
      pool,
      ...Array.from({ length: 2_100 }, (_, i) => spec(`t${i}`)),
    );
    const claims = ready.map((task) => claimOf(task));
    const granted = await claimTasks(pool, claims, true);
    const { rows } = await pool.query(
      "SELECT s.fence FROM task_states s JOIN tasks t USING (task_id) WHERE t.job_id = $1 ORDER BY t.ordinal",
      [jobUuid((ready[0] as LiveTask).jobId)],
    );
    expect(granted.map((lease) => String(lease?.fence))).toEqual(rows.map(({ fence }) => fence));
    const next = await insertJob(pool, spec("next"));
    const [last] = await claimTasks(
      pool,
      next.ready.map((task) => claimOf(task)),
      true,
    );
    const highest = granted.reduce(
      (top, lease) => (lease !== undefined && lease.fence > top ? lease.fence : top),
      0n,
    );
    expect(last?.fence).toBeGreaterThan(highest);
    expect(new Set(granted.map((lease) => lease?.fence)).size).toBe(2_100);
  });
});

describe("the end of a lease", () => {
  it("is stored for each as it is, whatever ends beside it, and told with when it began", async () => {
    const { ready } = await insertJob(pool, ...["a", "b", "c", "d", "e"].map((key) => spec(key)));
    const granted = await claimTasks(
      pool,
      ready.map((task) => claimOf(task)),
      true,
    );
    const [, stored] = ready as [LiveTask, LiveTask];
    const fenceOf = (task: LiveTask) => granted[ready.indexOf(task)]?.fence ?? 0n;
    await acceptTasks(pool, [{ taskId: stored.taskId, fence: fenceOf(stored), agoMs: 500 }]);
    const endings = [
      { kind: "COMPLETED", output: OUTPUT },
      { kind: "COMPLETED", output: { ...OUTPUT, storedBytes: 7 } },
      { kind: "FAILED", reason: "X", message: "m", retryable: true },
      { kind: "FAILED", reason: "Y", message: "n", retryable: false },
      { kind: "COMPLETED", output: OUTPUT },
    ] as const;
    const ends = ready.map((task, index) => ({
      taskId: task.taskId,
      fence: index === 4 ? fenceOf(task) + 1n : fenceOf(task),
      startedAgoMs: index === 0 || index === 3 ? 40 : undefined,
      settlement: settle(endings[index] as Ending, { attempts: 1, charged: 0 }, POLICY),
    }));
    const settled = await settleLeases(pool, ends);
    const { rows } = await pool.query(
      `SELECT t.task_key, s.state, s.charged, s.fence = 0 AS over, s.outcome, s.word, s.failure_reason, s.output_stored_bytes,
              convert_from(s.output, 'UTF8') AS output, round(date_part('epoch', s.started_at) * 1000) AS started_at,
              s.ready_at > now() AS delayed
         FROM task_states s JOIN tasks t USING (task_id) WHERE t.job_id = $1 ORDER BY t.ordinal`,
      [jobUuid(stored.jobId)],
    );
    const done = { charged: 1, over: true, outcome: "SUCCEEDED", word: "COMPLETED", output: "out" };
    const plain = { output_stored_bytes: null, failure_reason: null, delayed: false };
    expect(rows).toMatchObject([
      { task_key: "a", state: "SUCCEEDED", ...done, ...plain },
      { task_key: "b", state: "SUCCEEDED", ...done, ...plain, output_stored_bytes: "7" },
      {
        task_key: "c",
        state: "READY",
        charged: 1,
        outcome: null,
        failure_reason: "X",
        delayed: true,
      },
      { task_key: "d", state: "FAILED", outcome: "FAILED", word: "FAILED", failure_reason: "Y" },
      { task_key: "e", state: "LEASED", charged: 0, over: false, outcome: null, output: null },
    ]);
    const told = settled.map((end) => end?.startedAtMs);
    for (const [index, { started_at }] of rows.entries()) {
      // Half a millisecond is rounded up in the process, and to the even one in the database.
      expect(Math.abs((told[index] ?? 0) - Number(started_at ?? 0))).toBeLessThanOrEqual(1);
    }
    expect(told.map((at) => at === undefined)).toEqual([false, false, true, false, true]);
    const goesOn = settled.map((end) => (end?.readyAtMs ?? 0) > 0);
    expect(goesOn).toEqual([false, false, true, false, false]);
    expect(settled.map((end) => end === undefined)).toEqual([false, false, false, false, true]);
  });
});
