import type { Pool } from "@nexus/postgres";
import { LOGIN_FAILURE_RETENTION } from "./login-failure-store.ts";
import { REQUEST_RETENTION } from "./request-store.ts";

/** Rows removed by one statement: keeps locks short and the tables usable meanwhile. */
const DELETE_MAX = 1000;

/** A destroyed key keeps its name for this long; the contract says so. A later key of the name opens nothing of the
 * old one: material and context are of the key's id, which is never given out again. */
const NAME_FREE = "destroyed_at < clock_timestamp() - interval '30 days'";

/** What has ended, by table. Families and spent tokens go when no refresh token of theirs could be used any more. */
const ENDED: Readonly<Record<string, string>> = {
  revocations: "expires_at < clock_timestamp()",
  token_families: "refresh_expires_at < clock_timestamp()",
  spent_refresh_tokens: "expires_at < clock_timestamp()",
  login_counts: `failed_at < clock_timestamp() - interval '${LOGIN_FAILURE_RETENTION}'`,
  // Versions first: a key's row goes when it has none left.
  key_versions: `key_id IN (SELECT key_id FROM named_keys WHERE ${NAME_FREE})`,
  named_keys: `${NAME_FREE}
    AND NOT EXISTS (SELECT FROM key_versions v WHERE v.key_id = named_keys.key_id)`,
  secret_leases: "expires_at < clock_timestamp()",
  // Of a week ago one an hour is enough to say between which two a leaf was changed.
  audit_checkpoints: `signed_at < clock_timestamp() - interval '7 days' AND EXISTS (
    SELECT FROM audit_checkpoints later WHERE later.tree_size > audit_checkpoints.tree_size
      AND later.signed_at < date_trunc('hour', audit_checkpoints.signed_at) + interval '1 hour')`,
  // Of a gateway's process, or of a database that was replaced. One that comes back after all goes on from where it was: its
  // positions only grow.
  audit_streams: "taken_at < clock_timestamp() - interval '30 days'",
  anomaly_known: "last_at < clock_timestamp() - interval '90 days'",
  // Those that nobody looked at for a year will not be looked at.
  anomaly_alerts: `coalesce(acknowledged_at + interval '90 days', last_at + interval '365 days')
    < clock_timestamp()`,
  requests: `created_at < clock_timestamp() - interval '${REQUEST_RETENTION}'`,
};

/** A version of a secret stays when its time is over, its value does not. */
const REMOVE_EXPIRED_VALUES = `
  UPDATE secret_versions SET box = NULL, tenant_key_version = NULL, value = NULL
  WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM secret_versions WHERE value IS NOT NULL AND expires_at < clock_timestamp()
    LIMIT ${DELETE_MAX} FOR UPDATE SKIP LOCKED))`;

/** Removes what has ended, in bounded statements, until nothing is left or the signal aborts. Safe from several
 * replicas: rows that another one is removing are skipped. Returns how many rows went. */
export async function deleteEnded(pool: Pool, signal: AbortSignal): Promise<number> {
  const deletions = Object.entries(ENDED).map(
    ([table, ended]) => `
      DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM ${table} WHERE ${ended} LIMIT ${DELETE_MAX} FOR UPDATE SKIP LOCKED))`,
  );
  let total = 0;
  for (const text of [REMOVE_EXPIRED_VALUES, ...deletions]) {
    let removed = DELETE_MAX;
    while (removed === DELETE_MAX && !signal.aborted) {
      removed = (await pool.query(text)).rowCount;
      total += removed;
    }
  }
  return total;
}
