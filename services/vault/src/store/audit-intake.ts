import { createHash } from "node:crypto";
import type { Pool, Queryable } from "@nexus/postgres";
import { byteaArray, int8Array, textArray, withTransaction } from "@nexus/postgres";
import type { AuditStore, ToldEntries } from "../domain/audit/audit-entries.ts";

// The first statement of the transaction locks the stream's row, so that two calls with the same entries come one after the
// other and the second finds them taken.
const LOCK_STREAM = `
  INSERT INTO audit_streams AS s (service, stream, position) VALUES ($1, $2, 0)
  ON CONFLICT (service, stream) DO UPDATE SET position = s.position
  RETURNING position, last_digest AS "lastDigest"`;

const MOVE_ON = `
  UPDATE audit_streams SET position = $3, last_digest = $4, taken_at = clock_timestamp()
  WHERE service = $1 AND stream = $2`;

// A time behind the year 9999 is one reason for a notice, which then has the time of its own making.
const TAKE = `
  INSERT INTO audit_outbox (draft, committed_at)
  SELECT draft, CASE WHEN time_us < 253402300800000000
    THEN 'epoch'::timestamptz + time_us * interval '1 microsecond' ELSE clock_timestamp() END
  FROM unnest($1::bytea[], $2::bigint[]) AS t (draft, time_us)`;

// What would not fit any more is told by its digest in the log alone.
const QUARANTINE = `
  INSERT INTO audit_quarantine (service, stream, position, problem, draft)
  SELECT $1, $2, position, problem, draft
  FROM unnest($3::bigint[], $4::text[], $5::bytea[]) AS t (position, problem, draft)
  LIMIT greatest(0, $6 - (SELECT count(*) FROM audit_quarantine))
  ON CONFLICT DO NOTHING`;

/** Entries that are kept in quarantine, and bytes of each: 320 MiB. */
const QUARANTINED_MAX = 10_000;
const QUARANTINED_BYTES_MAX = 32_768;

type Entries = ToldEntries["entries"];

interface StreamRow {
  readonly position: string;
  readonly lastDigest: Buffer | null;
}

/** Takes entries of other services into the log's own outbox, each once; in the place of a refused one its notice. */
export function createAuditIntake(pool: Pool): AuditStore["take"] {
  return ({ service, stream, entries }) =>
    withTransaction(pool, async (client) => {
      const { rows } = await client.query<StreamRow>(LOCK_STREAM, [service, stream]);
      const taken = BigInt(rows[0]?.position ?? 0);
      if (hasDiverged(entries, taken, rows[0]?.lastDigest)) {
        return { position: positionBehind(entries), quarantined: 0 };
      }
      const fresh = entries.filter(({ position }) => position > taken);
      const last = fresh.at(-1);
      if (last === undefined) return { position: taken, quarantined: 0 };
      const drafts = byteaArray(fresh.map(({ draft, refusal }) => refusal?.notice ?? draft));
      const times = int8Array(fresh.map(({ timeUs }) => timeUs));
      await client.query(TAKE, [drafts, times]);
      await client.query(MOVE_ON, [service, stream, last.position, digestOf(last.draft)]);
      const quarantined = await quarantine(client, { service, stream, entries: fresh });
      return { position: last.position, quarantined };
    });
}

/** Keeps the refused ones aside; returns how many there are. */
async function quarantine(
  client: Queryable,
  { service, stream, entries }: ToldEntries,
): Promise<number> {
  const refused = entries.filter(({ refusal }) => refusal !== undefined);
  if (refused.length === 0) return 0;
  await client.query(QUARANTINE, [
    service,
    stream,
    int8Array(refused.map(({ position }) => position)),
    textArray(refused.map(({ refusal }) => refusal?.problem ?? "")),
    byteaArray(refused.map(({ draft }) => draft.subarray(0, QUARANTINED_BYTES_MAX))),
    QUARANTINED_MAX,
  ]);
  return refused.length;
}

/** Says whether entries reach over the last position taken with another entry at it: those up to it were never told, though
 * they have positions that were. Entries that end before it tell nothing, and nothing of them is taken. */
function hasDiverged(entries: Entries, taken: bigint, lastDigest?: Buffer | null): boolean {
  const first = entries[0]?.position ?? 0n;
  const last = entries.at(-1)?.position ?? 0n;
  if (!lastDigest || first > taken || last < taken) return false;
  const same = entries.find(({ position }) => position === taken);
  return same === undefined || !digestOf(same.draft).equals(lastDigest);
}

/** Behind all that were sent: that tells their service that the stream is not its own any more. */
function positionBehind(entries: Entries): bigint {
  return (entries.at(-1)?.position ?? 0n) + 1n;
}

function digestOf(draft: Uint8Array): Buffer {
  return createHash("sha256").update(draft).digest();
}
