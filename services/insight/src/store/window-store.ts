/** Sums over a window back from now: rollups for all full minutes, single samples for the rest and for what is not rolled up
 * yet. */
import { type Pool, type Queryable, withTransaction } from "@nexus/postgres";
import { LN_GAMMA, ZERO_BIN } from "../domain/latency-sketch.ts";
import type { NamedPerformance } from "../domain/performance.ts";
import { PerformanceTally } from "../domain/performance-tally.ts";
import type { Grouping, PerformanceFilter, WindowPage } from "../domain/ports.ts";
import { ALL, type RollupWidth } from "../domain/rollup.ts";
import { planWindow, type WindowPlan } from "../domain/window-plan.ts";
import { type TallyRow, toTally } from "./rollup-store.ts";

const COLUMN: Readonly<Record<Grouping, string>> = { agent: "agent_id", capability: "capability" };

/** Sums up the groups of one page, which sees one state of all tables. */
export function listWindow(
  pool: Pool,
  grouping: Grouping,
  filter: PerformanceFilter,
  page: WindowPage,
): Promise<NamedPerformance[]> {
  const read = async (tx: Queryable) => {
    const reader = new WindowReader(tx, grouping, filter, await readPosition(tx, filter));
    const names = await reader.names(page);
    return reader.summaries(names);
  };
  return withTransaction(pool, read, { isolation: "repeatable read" });
}

/** Where the window begins and how far the rollups have come. */
interface Position {
  readonly plan: WindowPlan;
  readonly rolledThrough: string;
}

async function readPosition(tx: Queryable, { windowMs }: PerformanceFilter): Promise<Position> {
  const { rows } = await tx.query<{ now_ms: number; rolled_through: string }>(
    "SELECT (extract(epoch FROM now()) * 1000)::float8 AS now_ms, rolled_through FROM rollup_state",
  );
  const row = rows[0];
  if (row === undefined) throw new Error("rollup_state has no row");
  return { plan: planWindow(row.now_ms - windowMs), rolledThrough: row.rolled_through };
}

interface CountRow {
  readonly name: string;
  readonly success: boolean;
  readonly reason: string;
  readonly attempts: number;
}

interface BinRow {
  readonly name: string;
  readonly measure: "queue" | "run";
  readonly bin: number;
  readonly count: number;
  readonly sum_us: number;
  readonly max_us: number;
}

/** The samples that no rollup answers for: those of the first, broken minute, and those behind the rollups. Two searches, each
 * with an index of its own. $1 namespace, $2 agent, $3 capability, $4 start and $5 first full minute in ms, $6 last sample
 * in the rollups. */
const SINGLE_SAMPLES = `(
  SELECT agent_id, capability, success, reason, queue_us, run_us FROM task_samples
  WHERE namespace = $1 AND ($2 = '' OR agent_id = $2) AND ($3 = '' OR capability = $3)
    AND measured_at >= to_timestamp($4::float8 / 1000) AND measured_at < to_timestamp($5::float8 / 1000)
  UNION ALL
  SELECT agent_id, capability, success, reason, queue_us, run_us FROM task_samples
  WHERE namespace = $1 AND ($2 = '' OR agent_id = $2) AND ($3 = '' OR capability = $3)
    AND measured_at >= to_timestamp($5::float8 / 1000) AND sequence > $6::bigint
) AS samples`;

const STRETCH = `bucket >= to_timestamp($4::float8 / 1000)
  AND ($5::float8 IS NULL OR bucket < to_timestamp($5::float8 / 1000))`;

class WindowReader {
  readonly #tx: Queryable;
  readonly #column: string;
  readonly #filter: PerformanceFilter;
  readonly #position: Position;
  /** How rollups of this grouping and filter are named: ALL where nothing was asked for. */
  readonly #scope: string;

  constructor(tx: Queryable, grouping: Grouping, filter: PerformanceFilter, position: Position) {
    this.#tx = tx;
    this.#column = COLUMN[grouping];
    this.#filter = filter;
    this.#position = position;
    this.#scope =
      grouping === "agent"
        ? "namespace = $1 AND width = $2 AND capability = $3 AND agent_id <> ''"
        : "namespace = $1 AND width = $2 AND agent_id = $3 AND capability <> ''";
  }

  /** The first names behind one, in order. */
  async names({ afterName, limit }: WindowPage): Promise<string[]> {
    const found = new Set<string>();
    for (const { width, fromMs, toMs } of this.#position.plan.stretches) {
      const { rows } = await this.#tx.query<{ name: string }>(
        `SELECT DISTINCT ${this.#column} AS name FROM task_rollups
         WHERE ${this.#scope} AND ${STRETCH} AND ${this.#only("$6")} AND ${this.#column} > $7
         ORDER BY name LIMIT $8`,
        [...this.#rollupValues(width, fromMs, toMs), afterName, limit],
      );
      for (const { name } of rows) found.add(name);
    }
    const { rows } = await this.#tx.query<{ name: string }>(
      `SELECT DISTINCT ${this.#column} AS name FROM ${SINGLE_SAMPLES}
       WHERE ${this.#column} > $7 ORDER BY name LIMIT $8`,
      [...this.#sampleValues(), afterName, limit],
    );
    for (const { name } of rows) found.add(name);
    return this.#firstInOrder([...found], limit);
  }

  /** What each name's attempts come to, in the order of the names. */
  async summaries(names: readonly string[]): Promise<NamedPerformance[]> {
    const tallies = new Map(names.map((name) => [name, new PerformanceTally()]));
    for (const { width, fromMs, toMs } of this.#position.plan.stretches) {
      const { rows } = await this.#tx.query<TallyRow & { name: string }>(
        `SELECT ${this.#column} AS name, attempts, succeeded, failures, queue_sketch, run_sketch FROM task_rollups
         WHERE ${this.#scope} AND ${STRETCH} AND ${this.#only("$6")} AND ${this.#column} = ANY ($7::text[])`,
        [...this.#rollupValues(width, fromMs, toMs), names],
      );
      for (const row of rows) tallies.get(row.name)?.merge(toTally(row));
    }
    await this.#addCounts(tallies, names);
    await this.#addBins(tallies, names);
    return [...tallies].map(([name, tally]) => ({ name, performance: tally.summary() }));
  }

  async #addCounts(
    tallies: ReadonlyMap<string, PerformanceTally>,
    names: readonly string[],
  ): Promise<void> {
    const { rows } = await this.#tx.query<CountRow>(
      `SELECT ${this.#column} AS name, success, reason, count(*)::float8 AS attempts FROM ${SINGLE_SAMPLES}
       WHERE ${this.#column} = ANY ($7::text[])
       GROUP BY ${this.#column}, success, reason ORDER BY attempts DESC`,
      [...this.#sampleValues(), names],
    );
    for (const { name, success, reason, attempts } of rows) {
      const tally = tallies.get(name);
      if (tally === undefined) continue;
      tally.attempts += attempts;
      if (success) tally.succeeded += attempts;
      else tally.addFailures(reason, attempts);
    }
  }

  /** Puts durations into the sketch's bins where they are, so that a minute of a busy namespace is a few rows here. */
  async #addBins(
    tallies: ReadonlyMap<string, PerformanceTally>,
    names: readonly string[],
  ): Promise<void> {
    const { rows } = await this.#tx.query<BinRow>(
      `WITH single AS MATERIALIZED (
         SELECT ${this.#column} AS name, success, queue_us::float8, run_us::float8 FROM ${SINGLE_SAMPLES}
         WHERE ${this.#column} = ANY ($7::text[])
       ), measured AS (
         SELECT name, 'queue' AS measure, queue_us AS us FROM single WHERE queue_us IS NOT NULL
         UNION ALL
         SELECT name, 'run' AS measure, run_us AS us FROM single WHERE run_us IS NOT NULL AND success)
       SELECT name, measure, bin, count(*)::float8 AS count, sum(us) AS sum_us, max(us) AS max_us
       FROM measured, LATERAL (SELECT CASE WHEN us < 1 THEN ${ZERO_BIN} ELSE ceil(ln(us) / $8::float8)::integer END) AS b(bin)
       GROUP BY name, measure, bin`,
      [...this.#sampleValues(), names, LN_GAMMA],
    );
    for (const { name, measure, bin, count, sum_us, max_us } of rows) {
      tallies.get(name)?.[measure].addBin({ bin, count, sumUs: sum_us, maxUs: max_us });
    }
  }

  #rollupValues(width: RollupWidth, fromMs: number, toMs: number | undefined): unknown[] {
    const { namespace, agentId, capability } = this.#filter;
    const byAgent = this.#column === COLUMN.agent;
    const other = byAgent ? capability : ALL;
    return [namespace, width, other, fromMs, toMs ?? null, byAgent ? agentId : capability];
  }

  #sampleValues(): unknown[] {
    const { namespace, agentId, capability } = this.#filter;
    const { plan, rolledThrough } = this.#position;
    return [namespace, agentId, capability, plan.fromMs, plan.firstMinuteMs, rolledThrough];
  }

  /** Restricts the listed names to the one that was asked for, if any. */
  #only(parameter: string): string {
    return `(${parameter} = '' OR ${this.#column} = ${parameter})`;
  }

  /** Puts names into the database's own order, which is the one that pages follow. */
  async #firstInOrder(names: readonly string[], limit: number): Promise<string[]> {
    const { rows } = await this.#tx.query<{ name: string }>(
      "SELECT name FROM unnest($1::text[]) AS t(name) ORDER BY name LIMIT $2",
      [names, limit],
    );
    return rows.map(({ name }) => name);
  }
}
