import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packAttempts } from "../src/domain/attempt-pack.ts";
import { createPackStore } from "../src/store/pack-store.ts";
import { createPerformanceStore } from "../src/store/performance-store.ts";
import { createRollupStore } from "../src/store/rollup-store.ts";
import { type Bench, createBench } from "./_helpers.ts";

const DAY_MS = 86_400_000;

let bench: Bench;
beforeAll(async () => {
  bench = await createBench();
  // The service itself is not started: these tests turn the clock of its tables.
  await createPackStore(bench.pool).keepPartitions(30 * DAY_MS);
  await createRollupStore(bench.pool).keepPartitions(31 * DAY_MS);
});
afterAll(() => bench.close());

async function days(table: string): Promise<string[]> {
  const { rows } = await bench.pool.query<{ day: string }>(
    `SELECT right(child.relname, 8) AS day FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
     WHERE inhparent = $1::regclass ORDER BY 1`,
    [table],
  );
  return rows.map(({ day }) => day);
}

/** The day (UTC) that lies this many days from the database's today, as YYYYMMDD. */
async function dayName(offset: number): Promise<string> {
  const { rows } = await bench.pool.query<{ day: string }>(
    "SELECT to_char(now() AT TIME ZONE 'UTC' + make_interval(days => $1), 'YYYYMMDD') AS day",
    [offset],
  );
  return rows[0]?.day ?? "";
}

async function addDay(table: string, offset: number): Promise<void> {
  const day = await dayName(offset);
  const next = await dayName(offset + 1);
  await bench.pool.query(
    `CREATE TABLE ${table}_${day} PARTITION OF ${table} FOR VALUES FROM ('${day} UTC') TO ('${next} UTC')`,
  );
}

/** Stores attempts as they would have come in over time, a pack for each. */
async function insertAttempts(
  namespace: string,
  attempts: readonly { agoS: number; success?: boolean; queueUs: number; runUs: number }[],
): Promise<void> {
  const packs = attempts.map(({ success = true, queueUs, runUs }) =>
    packAttempts([
      {
        endMs: 0,
        kind: {
          agentId: "agent",
          capability: "text.analyse",
          success,
          reason: success ? "" : "AGENT_ERROR",
        },
        queueUs,
        runUs,
      },
    ]),
  );
  await bench.pool.query(
    `INSERT INTO attempt_packs (namespace, minute, job_id, attempts)
     SELECT $1, date_trunc('minute', now() - make_interval(secs => ago_s)), 'job', attempts
     FROM unnest($2::int[], $3::bytea[]) AS a(ago_s, attempts)`,
    [namespace, attempts.map(({ agoS }) => agoS), packs],
  );
}

describe("retention", () => {
  it("makes room for late samples and for the days to come", async () => {
    const expected = await Promise.all([-2, -1, 0, 1, 2].map(dayName));
    expect(await days("attempt_packs")).toEqual(expected);
    expect(await days("task_rollups")).toEqual(expected);
  });

  it("drops days whose last moment is too long ago, and no others", async () => {
    const packs = createPackStore(bench.pool);
    for (const offset of [-31, -30, -5]) await addDay("attempt_packs", offset);
    await packs.keepPartitions(30 * DAY_MS);
    const kept = await Promise.all([-30, -5, -2, -1, 0, 1, 2].map(dayName));
    expect(await days("attempt_packs")).toEqual(kept);
    await packs.keepPartitions(2 * DAY_MS);
    expect(await days("attempt_packs")).toEqual(kept.slice(2));
  });

  it("answers for a month from rollups, without a look at the samples of full minutes", async () => {
    const { pool } = bench;
    for (let offset = -30; offset <= -3; offset++) {
      await addDay("attempt_packs", offset);
      await addDay("task_rollups", offset);
    }
    // One attempt every 20 minutes for 30 days, the newest 10 minutes ago.
    const attempts = Array.from({ length: 30 * 72 }, (_, n) => {
      return { agoS: (10 + 20 * n) * 60, queueUs: 1_000 + n, runUs: 1_000_000 + 1_000 * n };
    });
    await insertAttempts("default", attempts);
    const rollups = createRollupStore(pool);
    let rolled = 0;
    for (let count = 500; count > 0; rolled += count) count = (await rollups.advance(500)).attempts;
    expect(rolled).toBe(30 * 72);
    expect(await rollups.advance(500)).toEqual({ packs: 0, attempts: 0 });
    await pool.query("DELETE FROM attempt_packs WHERE minute > now() - interval '29 days'");

    const store = createPerformanceStore(pool);
    const attemptsIn = async (windowMs: number) => {
      const filter = { namespace: "default", windowMs, agentId: "", capability: "" };
      const page = { afterName: "", limit: 10 };
      const [agent] = await store.list("agent", filter, page);
      const [capability] = await store.list("capability", filter, page);
      expect(capability?.performance).toEqual(agent?.performance);
      return agent?.performance;
    };
    for (const days of [1, 7, 28]) {
      const performance = await attemptsIn(days * DAY_MS);
      // The attempt in the window's first, broken minute is gone with the samples, if there was one.
      expect(Math.abs((performance?.attempts ?? 0) - days * 72)).toBeLessThanOrEqual(1);
      const median = performance?.runTime.p50Us ?? 0;
      const exact = 1_000_000 + 1_000 * (days * 36 - 1);
      expect(Math.abs(median - exact) / exact).toBeLessThan(0.01);
    }
    const { rows } = await pool.query<{ count: string }>(
      "SELECT count(*) FROM task_rollups WHERE width = 'day' AND agent_id = 'agent' AND capability = ''",
    );
    expect(Number(rows[0]?.count)).toBeLessThanOrEqual(31);
  });

  it("lets one replica roll up at a time, and adds each sample once", async () => {
    const { pool } = bench;
    const attempts = Array.from({ length: 400 }, (_, n) => {
      return { agoS: n + 1, success: n % 4 !== 0, queueUs: 1_000, runUs: 1_000 };
    });
    await insertAttempts("race", attempts);
    const rollups = createRollupStore(pool);
    for (;;) {
      const counts = await Promise.all([rollups.advance(30), rollups.advance(30)]);
      if (counts.every(({ packs }) => packs === 0)) break;
    }
    const { rows } = await pool.query(
      `SELECT sum(attempts)::int AS attempts, sum(succeeded)::int AS succeeded,
         sum((failures ->> 'AGENT_ERROR')::int)::int AS errors
       FROM task_rollups WHERE namespace = 'race' AND width = 'minute' AND agent_id = '' `,
    );
    expect(rows).toEqual([{ attempts: 400, succeeded: 300, errors: 100 }]);
  });
});
