import { createHash } from "node:crypto";
import type { Pool } from "@nexus/postgres";
import { byteaArray, int8Array, withTransaction } from "@nexus/postgres";
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

const TAKE = `
  INSERT INTO audit_outbox (draft, committed_at)
  SELECT draft, 'epoch'::timestamptz + time_us * interval '1 microsecond'
  FROM unnest($1::bytea[], $2::bigint[]) AS t (draft, time_us)`;

type Entries = ToldEntries["entries"];

interface StreamRow {
  readonly position: string;
  readonly lastDigest: Buffer | null;
}

/** Takes entries of other services into the log's own outbox, each once. */
export function createAuditIntake(pool: Pool): AuditStore["take"] {
  return ({ service, stream, entries }) =>
    withTransaction(pool, async (client) => {
      const { rows } = await client.query<StreamRow>(LOCK_STREAM, [service, stream]);
      const taken = BigInt(rows[0]?.position ?? 0);
      if (hasDiverged(entries, taken, rows[0]?.lastDigest)) return positionBehind(entries);
      const fresh = entries.filter(({ position }) => position > taken);
      const last = fresh.at(-1);
      if (last === undefined) return taken;
      const drafts = byteaArray(fresh.map(({ draft }) => draft));
      const times = int8Array(fresh.map(({ timeUs }) => timeUs));
      await client.query(TAKE, [drafts, times]);
      await client.query(MOVE_ON, [service, stream, last.position, digestOf(last.draft)]);
      return last.position;
    });
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
