/** Sums over a window back from now: rollups for all full minutes, single attempts for the rest and for what is not rolled up
 * yet. */
import { type Pool, type Queryable, withTransaction } from "@nexus/postgres";
import type { PackedAttempt } from "../domain/attempt-pack.ts";
import type { NamedPerformance } from "../domain/performance.ts";
import { PerformanceTally } from "../domain/performance-tally.ts";
import type { Grouping, PerformanceFilter, WindowPage } from "../domain/ports.ts";
import { ALL, bucketOf, type RollupWidth } from "../domain/rollup.ts";
import { planWindow, type WindowPlan } from "../domain/window-plan.ts";
import { eachPack } from "./pack-store.ts";
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
    const position = await readPosition(tx, filter);
    const single = await tallySingle(tx, grouping, filter, position);
    const reader = new WindowReader(tx, { grouping, filter, position, single });
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

/** Tallies, by name, the attempts that no rollup answers for: those of the first, broken minute, and those behind the rollups. */
async function tallySingle(
  tx: Queryable,
  grouping: Grouping,
  filter: PerformanceFilter,
  { plan, rolledThrough }: Position,
): Promise<ReadonlyMap<string, PerformanceTally>> {
  const { namespace, agentId, capability } = filter;
  const tallies = new Map<string, PerformanceTally>();
  const add = (attempt: PackedAttempt): void => {
    const { kind } = attempt;
    if (agentId !== "" && kind.agentId !== agentId) return;
    if (capability !== "" && kind.capability !== capability) return;
    const name = grouping === "agent" ? kind.agentId : kind.capability;
    const tally = tallies.get(name) ?? new PerformanceTally();
    tallies.set(name, tally);
    tally.add(attempt);
  };
  const brokenMs = bucketOf("minute", plan.fromMs);
  if (brokenMs < plan.firstMinuteMs) {
    const where = "namespace = $1 AND minute = to_timestamp($2::float8 / 1000)";
    await eachPack(tx, { where, values: [namespace, brokenMs] }, ({ attempts }) => {
      for (const attempt of attempts) if (brokenMs + attempt.endMs >= plan.fromMs) add(attempt);
    });
  }
  const where = "namespace = $1 AND minute >= to_timestamp($2::float8 / 1000)";
  const behind = { where, values: [namespace, plan.firstMinuteMs], after: rolledThrough };
  await eachPack(tx, behind, ({ attempts }) => attempts.forEach(add));
  return tallies;
}

/** What is asked, and what is known of the answer. */
interface WindowQuestion {
  readonly grouping: Grouping;
  readonly filter: PerformanceFilter;
  readonly position: Position;
  readonly single: ReadonlyMap<string, PerformanceTally>;
}

const STRETCH = `bucket >= to_timestamp($4::float8 / 1000)
  AND ($5::float8 IS NULL OR bucket < to_timestamp($5::float8 / 1000))`;

class WindowReader {
  readonly #tx: Queryable;
  readonly #column: string;
  readonly #filter: PerformanceFilter;
  readonly #position: Position;
  /** Of single attempts. */
  readonly #single: ReadonlyMap<string, PerformanceTally>;
  /** How rollups of this grouping and filter are named: ALL where nothing was asked for. */
  readonly #scope: string;

  constructor(tx: Queryable, { grouping, filter, position, single }: WindowQuestion) {
    this.#tx = tx;
    this.#column = COLUMN[grouping];
    this.#filter = filter;
    this.#position = position;
    this.#single = single;
    this.#scope =
      grouping === "agent"
        ? "namespace = $1 AND width = $2 AND capability = $3 AND agent_id <> ''"
        : "namespace = $1 AND width = $2 AND agent_id = $3 AND capability <> ''";
  }

  /** The first names behind one, in order. */
  async names({ afterName, limit }: WindowPage): Promise<string[]> {
    const found = new Set<string>(this.#single.keys());
    for (const { width, fromMs, toMs } of this.#position.plan.stretches) {
      const { rows } = await this.#tx.query<{ name: string }>(
        `SELECT DISTINCT ${this.#column} AS name FROM task_rollups
         WHERE ${this.#scope} AND ${STRETCH} AND ${this.#only("$6")} AND ${this.#column} > $7
         ORDER BY name LIMIT $8`,
        [...this.#rollupValues(width, fromMs, toMs), afterName, limit],
      );
      for (const { name } of rows) found.add(name);
    }
    return this.#firstInOrder([...found], afterName, limit);
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
    for (const [name, tally] of tallies) {
      const single = this.#single.get(name);
      if (single !== undefined) tally.merge(single);
    }
    return [...tallies].map(([name, tally]) => ({ name, performance: tally.summary() }));
  }

  #rollupValues(width: RollupWidth, fromMs: number, toMs: number | undefined): unknown[] {
    const { namespace, agentId, capability } = this.#filter;
    const byAgent = this.#column === COLUMN.agent;
    const other = byAgent ? capability : ALL;
    return [namespace, width, other, fromMs, toMs ?? null, byAgent ? agentId : capability];
  }

  /** Restricts the listed names to the one that was asked for, if any. */
  #only(parameter: string): string {
    return `(${parameter} = '' OR ${this.#column} = ${parameter})`;
  }

  /** Puts names into the database's own order, which is the one that pages follow. */
  async #firstInOrder(
    names: readonly string[],
    afterName: string,
    limit: number,
  ): Promise<string[]> {
    const { rows } = await this.#tx.query<{ name: string }>(
      "SELECT name FROM unnest($1::text[]) AS t(name) WHERE name > $2 ORDER BY name LIMIT $3",
      [names, afterName, limit],
    );
    return rows.map(({ name }) => name);
  }
}
