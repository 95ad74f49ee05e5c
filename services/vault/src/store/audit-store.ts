import type { Pool, Queryable } from "@nexus/postgres";
import { byteaArray, int2Array, int8Array, textArray, withTransaction } from "@nexus/postgres";
import type {
  AuditExtension,
  AuditStore,
  NewLeaf,
  SignedState,
  Tile,
  TileName,
  WaitingDraft,
} from "../domain/audit/audit-entries.ts";
import { createAuditIntake } from "./audit-intake.ts";
import { createAuditReader } from "./audit-reader.ts";

/** Advisory lock of the one that gives places: "NXVA". */
const LOCK_CLASS = 0x4e585641;

// Held until the commit, so two replicas never go on from the same state.
const TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1, 0) AS mine";

const LATEST = `
  SELECT tree_size AS size, root, note FROM audit_checkpoints ORDER BY tree_size DESC LIMIT 1`;

const WAITS = "SELECT EXISTS (SELECT FROM audit_outbox) AS waits";

const WAITING = `
  SELECT entry_no AS "entryNo", draft,
    (extract(epoch FROM committed_at) * 1000000)::bigint AS "timeUs"
  FROM audit_outbox ORDER BY entry_no LIMIT $1`;

const TILES = `
  SELECT t.level, t.tile_index AS index, t.hashes FROM audit_tiles t
  JOIN unnest($1::smallint[], $2::bigint[]) AS wanted (level, tile_index) USING (level, tile_index)`;

const REMOVE_WAITING = "DELETE FROM audit_outbox WHERE entry_no = ANY ($1::bigint[])";

const INSERT_LEAVES = `
  INSERT INTO audit_entries
    (leaf_index, leaf, committed_at, service, action, namespace, actor, resource, result)
  SELECT leaf_index, leaf, 'epoch'::timestamptz + time_us * interval '1 microsecond',
    service, action, namespace, actor, resource, result
  FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
      $8::text[], $9::smallint[])
    AS l (leaf_index, leaf, time_us, service, action, namespace, actor, resource, result)`;

const UPSERT_TILES = `
  INSERT INTO audit_tiles (level, tile_index, hashes)
  SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])
  ON CONFLICT (level, tile_index) DO UPDATE SET hashes = excluded.hashes`;

const INSERT_STATE = "INSERT INTO audit_checkpoints (tree_size, root, note) VALUES ($1, $2, $3)";

/** Characters of a text that filters find. At three bytes each an index takes it: above 2 704 a row is refused, and with it
 * everything behind the one entry. No name that a contract lets through is as long. */
const INDEXED_LENGTH_MAX = 512;

interface StateRow {
  readonly size: string;
  readonly root: Buffer;
  readonly note: string;
}

async function findLatest(client: Queryable): Promise<SignedState | undefined> {
  const { rows } = await client.query<StateRow>({ name: "audit-latest", text: LATEST });
  return rows[0] === undefined ? undefined : { ...rows[0], size: Number(rows[0].size) };
}

async function findTiles(client: Queryable, names: readonly TileName[]): Promise<Tile[]> {
  if (names.length === 0) return [];
  const values = [
    int2Array(names.map(({ level }) => level)),
    int8Array(names.map(({ index }) => index)),
  ];
  const statement = { name: "audit-tiles", text: TILES, values };
  const { rows } = await client.query<{ level: number; index: string; hashes: Buffer }>(statement);
  return rows.map((row) => ({ ...row, index: Number(row.index) }));
}

function bindExtension(client: Queryable): AuditExtension {
  return {
    latest: () => findLatest(client),
    tiles: (names) => findTiles(client, names),
    async waiting(limit) {
      const { rows } = await client.query<Omit<WaitingDraft, "timeUs"> & { timeUs: string }>(
        WAITING,
        [limit],
      );
      return rows.map((row) => ({ ...row, timeUs: BigInt(row.timeUs) }));
    },
    async extend({ drafts, leaves, tiles, state }) {
      const numbers = drafts.map(({ entryNo }) => BigInt(entryNo));
      await client.query(REMOVE_WAITING, [int8Array(numbers)]);
      await client.query(INSERT_LEAVES, leafValues(leaves));
      await client.query(UPSERT_TILES, [
        int2Array(tiles.map(({ level }) => level)),
        int8Array(tiles.map(({ index }) => index)),
        byteaArray(tiles.map(({ hashes }) => hashes)),
      ]);
      await client.query(INSERT_STATE, [state.size, state.root, state.note]);
    },
  };
}

function leafValues(leaves: readonly NewLeaf[]): readonly Buffer[] {
  const texts = (pick: (leaf: NewLeaf) => string) =>
    // A text that cannot be stored, or not be indexed, is in the leaf all the same.
    textArray(leaves.map((leaf) => pick(leaf).replaceAll("\0", "").slice(0, INDEXED_LENGTH_MAX)));
  return [
    int8Array(leaves.map(({ index }) => index)),
    byteaArray(leaves.map(({ leaf }) => leaf)),
    int8Array(leaves.map(({ timeUs }) => timeUs)),
    texts(({ service }) => service),
    texts(({ action }) => action),
    texts(({ namespace }) => namespace),
    texts(({ actor }) => actor),
    texts(({ resource }) => resource),
    int2Array(leaves.map(({ result }) => result)),
  ];
}

/** Creates the store of the audit log. */
export function createAuditStore(pool: Pool): AuditStore {
  return {
    ...createAuditReader(pool),
    take: createAuditIntake(pool),
    async hasWaiting() {
      const { rows } = await pool.query<{ waits: boolean }>({ name: "audit-waits", text: WAITS });
      return rows[0]?.waits === true;
    },
    latest: () => findLatest(pool),
    tiles: (names) => findTiles(pool, names),
    exclusively: (work) =>
      withTransaction(pool, async (client) => {
        const { rows } = await client.query<{ mine: boolean }>(TRY_LOCK, [LOCK_CLASS]);
        if (rows[0]?.mine !== true) return false;
        await work(bindExtension(client));
        return true;
      }),
  };
}
