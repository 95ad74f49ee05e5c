/** The table attempt_packs: what one call brought of one job and one minute is a row. Each group of a stream is stored once. */
import { type Pool, type Queryable, together, withTransaction } from "@nexus/postgres";
import { type PackedAttempt, packAttempts, unpackAttempts } from "../domain/attempt-pack.ts";
import type { PackStore } from "../domain/ports.ts";
import type { OutcomeGroup, RecordedOutcome } from "../domain/recorded-outcome.ts";
import { bucketOf } from "../domain/rollup.ts";
import { keepDayPartitions } from "./day-partitions.ts";

/** Key of the advisory lock that whoever stores attempts takes: "NXSA". */
const INTAKE_LOCK = 0x4e585341;

/** An attempt may be a day old when it arrives, and that day's midnight may pass meanwhile. */
export const ATTEMPT_DAYS_BACK = 2;

/** How long a silent stream is remembered, by the contract: twice as long as outcomes are told. */
const STREAM_MEMORY_MS = 48 * 3_600_000;

/** Creates the store. */
export function createPackStore(pool: Pool): PackStore {
  return {
    store: (stream, groups) => withTransaction(pool, (tx) => store(tx, stream, groups)),
    keepPartitions: async (retentionMs) => {
      await keepDayPartitions(pool, "attempt_packs", {
        daysBack: ATTEMPT_DAYS_BACK,
        keptMs: retentionMs,
      });
      await pool.query(
        "DELETE FROM outcome_streams WHERE heard_at < now() - make_interval(secs => $1::float8 / 1000)",
        [STREAM_MEMORY_MS],
      );
    },
  };
}

async function store(
  tx: Queryable,
  stream: string,
  groups: readonly OutcomeGroup[],
): Promise<number> {
  const position = await advance(tx, stream, groups.at(-1)?.position ?? 0n);
  const fresh = groups.flatMap((group) => (group.position > position ? group.outcomes : []));
  if (fresh.length === 0) return 0;
  const packs = packUp(fresh);
  // The lock makes the numbering one step for everybody. It is the last thing that is waited for, and held for one statement and the
  // commit.
  await together(
    tx.query({
      name: "lock-intake",
      text: "SELECT pg_advisory_xact_lock($1)",
      values: [INTAKE_LOCK],
    }),
    tx.query({
      name: "insert-packs",
      text: `INSERT INTO attempt_packs (namespace, minute, job_id, attempts)
        SELECT namespace, to_timestamp(minute_ms / 1000), job_id, attempts
        FROM unnest($1::text[], $2::float8[], $3::text[], $4::bytea[]) AS p(namespace, minute_ms, job_id, attempts)`,
      values: [
        packs.map(({ namespace }) => namespace),
        packs.map(({ minuteMs }) => minuteMs),
        packs.map(({ jobId }) => jobId),
        packs.map(({ attempts }) => packAttempts(attempts)),
      ],
    }),
  );
  return fresh.length;
}

/** Moves a stream on to a position, unless it is there, and returns where it stood. Others that bring groups of the stream wait here
 * until the commit, and then see where it stands. */
async function advance(tx: Queryable, stream: string, position: bigint): Promise<bigint> {
  const { rows } = await tx.query<{ previous: string }>({
    name: "advance-stream",
    text: `INSERT INTO outcome_streams AS s (stream, position, previous) VALUES ($1, $2, 0)
      ON CONFLICT ON CONSTRAINT outcome_streams_key DO UPDATE
        SET previous = s.position, position = greatest(s.position, excluded.position), heard_at = now()
      RETURNING previous`,
    values: [stream, position.toString()],
  });
  const row = rows[0];
  if (row === undefined) throw new Error("a stream was not moved on");
  return BigInt(row.previous);
}

/** What becomes a row. */
interface Pack {
  readonly namespace: string;
  readonly jobId: string;
  readonly minuteMs: number;
  readonly attempts: PackedAttempt[];
}

function packUp(outcomes: readonly RecordedOutcome[]): Pack[] {
  const packs: Pack[] = [];
  const byJob = new Map<string, Pack[]>();
  for (const { kind, jobId, endedAtMs, queueUs, runUs } of outcomes) {
    const { namespace } = kind;
    const minuteMs = bucketOf("minute", endedAtMs);
    const ofJob = byJob.get(jobId) ?? [];
    let pack = ofJob.find((each) => each.minuteMs === minuteMs && each.namespace === namespace);
    if (pack === undefined) {
      pack = { namespace, jobId, minuteMs, attempts: [] };
      packs.push(pack);
      byJob.set(jobId, [...ofJob, pack]);
    }
    pack.attempts.push({ endMs: Math.floor(endedAtMs - minuteMs), kind, queueUs, runUs });
  }
  return packs;
}

/** Which packs are read. */
export interface PackQuery {
  /** A condition on attempt_packs, with parameters from $1 on. */
  readonly where: string;
  readonly values: readonly unknown[];
}

/** A pack as it is read. */
export interface ReadPack {
  readonly sequence: string;
  readonly namespace: string;
  readonly minuteMs: number;
  readonly attempts: readonly PackedAttempt[];
}

/** Reads packs behind a number, in the order of their numbers. */
export async function readPacks(
  db: Queryable,
  { where, values }: PackQuery,
  page: { readonly after: string; readonly limit: number },
): Promise<ReadPack[]> {
  const [after, limit] = [`$${values.length + 1}`, `$${values.length + 2}`];
  const { rows } = await db.query<{
    sequence: string;
    namespace: string;
    minute_ms: number;
    attempts: Buffer;
  }>(
    `SELECT sequence, namespace, date_part('epoch', minute) * 1000 AS minute_ms, attempts
     FROM attempt_packs WHERE ${where} AND sequence > ${after}::bigint ORDER BY sequence LIMIT ${limit}`,
    [...values, page.after, page.limit],
  );
  return rows.map(({ sequence, namespace, minute_ms: minuteMs, attempts }) => {
    return { sequence, namespace, minuteMs, attempts: unpackAttempts(attempts) };
  });
}

/** Packs in memory at once. */
const PAGE_PACKS = 500;

/** Reads all packs behind a number, in pages, and hands each to `visit`. */
export async function eachPack(
  db: Queryable,
  query: PackQuery & { readonly after?: string },
  visit: (pack: ReadPack) => void,
): Promise<void> {
  for (let after: string | undefined = query.after ?? "0"; after !== undefined; ) {
    const packs: readonly ReadPack[] = await readPacks(db, query, { after, limit: PAGE_PACKS });
    for (const pack of packs) visit(pack);
    after = packs.length < PAGE_PACKS ? undefined : packs.at(-1)?.sequence;
  }
}
