import type { Pool } from "@nexus/postgres";
import { withTransaction } from "@nexus/postgres";
import type { SeenCheckpoint, WitnessStore } from "../domain/witness.ts";

const ENSURE_SEED =
  "INSERT INTO witness_keys (seed) VALUES ($1) ON CONFLICT (singleton) DO NOTHING";
const SEED = "SELECT seed FROM witness_keys";

const KNOWN = `
  SELECT l.origin, l.log_key AS key, c.tree_size AS size, c.root, c.note
  FROM witness_logs l LEFT JOIN LATERAL (
    SELECT * FROM witness_checkpoints c WHERE c.origin = l.origin ORDER BY c.tree_size DESC LIMIT 1
  ) c ON true ORDER BY l.origin`;

const PIN =
  "INSERT INTO witness_logs (origin, log_key) VALUES ($1, $2) ON CONFLICT (origin) DO NOTHING";

// The log's row is locked first, so two replicas never both go on from the same checkpoint.
const LOCK = "SELECT FROM witness_logs WHERE origin = $1 FOR UPDATE";
const KEEP = `
  INSERT INTO witness_checkpoints (origin, tree_size, root, note)
  SELECT $1, $2, $3, $4
  WHERE coalesce((SELECT max(tree_size) FROM witness_checkpoints WHERE origin = $1), 0) = $5`;

const REFUSE = `
  UPDATE witness_logs SET refusal = $2, refused_at = clock_timestamp()
  WHERE origin = $1 AND refusal IS DISTINCT FROM $2`;

const LIST = `
  SELECT c.origin, c.tree_size AS size, c.note, c.seen_at AS "seenAt" FROM witness_checkpoints c
  WHERE ($1 = '' OR c.origin = $1) AND (c.tree_size, c.origin) < ($2, $3)
  ORDER BY c.tree_size DESC, c.origin DESC LIMIT $4`;

const REFUSAL = `
  SELECT refusal FROM witness_logs WHERE ($1 = '' OR origin = $1) AND refusal IS NOT NULL
  ORDER BY refused_at DESC LIMIT 1`;

// The last one of each hour stays for good: between two of them a fork is found all the same.
const PRUNE = `
  DELETE FROM witness_checkpoints c
  WHERE c.seen_at < clock_timestamp() - interval '1 hour' AND EXISTS (
    SELECT FROM witness_checkpoints later WHERE later.origin = c.origin AND later.tree_size > c.tree_size
      AND later.seen_at < date_trunc('hour', c.seen_at) + interval '1 hour')`;

interface KnownRow {
  readonly origin: string;
  readonly key: string;
  readonly size: string | null;
  readonly root: Buffer;
  readonly note: string;
}

/** A checkpoint as it is listed. */
export interface ListedCheckpoint {
  readonly origin: string;
  readonly size: number;
  readonly note: string;
  readonly seenAtMs: number;
}

/** Returns the witness's key, the same for all replicas and for ever; `fresh` is it if there is none. */
export async function ensureWitnessSeed(pool: Pool, fresh: Buffer): Promise<Buffer> {
  await pool.query(ENSURE_SEED, [fresh]);
  const { rows } = await pool.query<{ seed: Buffer }>(SEED);
  return rows[0]?.seed ?? fresh;
}

/** Creates the store of what was witnessed. */
export function createWitnessStore(pool: Pool) {
  const store: WitnessStore = {
    async known() {
      const { rows } = await pool.query<KnownRow>(KNOWN);
      return rows.map(({ origin, key, size, root, note }) => {
        const last: SeenCheckpoint | undefined =
          size === null ? undefined : { origin, size: Number(size), root, note };
        return { origin, key, last };
      });
    },
    async pin(origin, key) {
      await pool.query(PIN, [origin, key]);
    },
    keep: ({ origin, size, root, note }, after) =>
      withTransaction(pool, async (client) => {
        await client.query(LOCK, [origin]);
        return (await client.query(KEEP, [origin, size, root, note, after])).rowCount === 1;
      }),
    async refuse(origin, why) {
      await pool.query(REFUSE, [origin, why]);
    },
    async nowS() {
      const text = "SELECT floor(extract(epoch FROM clock_timestamp()))::bigint AS now";
      return Number((await pool.query<{ now: string }>(text)).rows[0]?.now ?? 0);
    },
  };
  return {
    ...store,
    /** The newest first, below a place. */
    async list(
      origin: string,
      { below, size }: { readonly below: readonly [string, string]; readonly size: number },
    ): Promise<ListedCheckpoint[]> {
      interface Row {
        readonly origin: string;
        readonly size: string;
        readonly note: string;
        readonly seenAt: Date;
      }
      const { rows } = await pool.query<Row>(LIST, [origin, ...below, size]);
      return rows.map(({ seenAt, ...row }) => ({
        ...row,
        size: Number(row.size),
        seenAtMs: seenAt.getTime(),
      }));
    },
    async refusal(origin: string): Promise<string> {
      const { rows } = await pool.query<{ refusal: string }>(REFUSAL, [origin]);
      return rows[0]?.refusal ?? "";
    },
    async prune(): Promise<void> {
      await pool.query(PRUNE);
    },
  };
}
