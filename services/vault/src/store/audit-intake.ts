import type { Pool } from "@nexus/postgres";
import { byteaArray, int8Array, withTransaction } from "@nexus/postgres";
import type { AuditStore } from "../domain/audit/audit-entries.ts";

// The first statement of the transaction locks the stream's row, so that two calls with the same entries come one after the
// other and the second finds them taken.
const LOCK_STREAM = `
  INSERT INTO audit_streams AS s (service, stream, position) VALUES ($1, $2, 0)
  ON CONFLICT (service, stream) DO UPDATE SET position = s.position
  RETURNING position`;

const MOVE_ON = `
  UPDATE audit_streams SET position = $3, taken_at = clock_timestamp()
  WHERE service = $1 AND stream = $2`;

const TAKE = `
  INSERT INTO audit_outbox (draft, committed_at)
  SELECT draft, 'epoch'::timestamptz + time_us * interval '1 microsecond'
  FROM unnest($1::bytea[], $2::bigint[]) AS t (draft, time_us)`;

/** Takes entries of other services into the log's own outbox, each once. */
export function createAuditIntake(pool: Pool): AuditStore["take"] {
  return ({ service, stream, entries }) =>
    withTransaction(pool, async (client) => {
      const { rows } = await client.query<{ position: string }>(LOCK_STREAM, [service, stream]);
      const taken = BigInt(rows[0]?.position ?? 0);
      const fresh = entries.filter(({ position }) => position > taken);
      const last = fresh.at(-1);
      if (last === undefined) return taken;
      const drafts = byteaArray(fresh.map(({ draft }) => draft));
      const times = int8Array(fresh.map(({ timeUs }) => timeUs));
      await client.query(TAKE, [drafts, times]);
      await client.query(MOVE_ON, [service, stream, last.position]);
      return last.position;
    });
}
