import type { Pool } from "@nexus/postgres";
import type { LoginFailures } from "../domain/ports.ts";

/** When a name is locked, and for how long. */
export interface LockoutPolicy {
  /** Failures until the first lock. */
  readonly failures: number;
  /** The first lock; each failure after it doubles the next. */
  readonly lockMs: number;
  readonly lockMaxMs: number;
}

/** Failures are forgotten when the last one is this old. */
export const LOGIN_FAILURE_RETENTION = "24 hours";

const IS_LOCKED = `
  SELECT 1 FROM login_failures
  WHERE namespace = $1 AND name_digest = $2 AND locked_until > clock_timestamp()`;

// One statement, so that of many guesses at once each counts. A locked name is left alone: trying on must not lengthen
// the lock, or anybody could keep anybody out for ever.
const ADD = `
  INSERT INTO login_failures AS f (namespace, name_digest, failures, locked_until, failed_at)
  VALUES ($1, $2, 1,
    CASE WHEN $3 <= 1 THEN clock_timestamp() + $4 * interval '1 millisecond' END, clock_timestamp())
  ON CONFLICT (namespace, name_digest) DO UPDATE SET
    (failures, locked_until, failed_at) = (
      SELECT c.count, CASE WHEN c.count >= $3 THEN clock_timestamp()
        + least($4 * power(2, least(c.count - $3, 20)), $5) * interval '1 millisecond' END,
        clock_timestamp()
      FROM (SELECT CASE WHEN f.failed_at < clock_timestamp() - interval '${LOGIN_FAILURE_RETENTION}'
        THEN 1 ELSE f.failures + 1 END AS count) c)
    WHERE f.locked_until IS NULL OR f.locked_until <= clock_timestamp()
  RETURNING f.locked_until IS NOT NULL AS locked`;

const CLEAR = `
  DELETE FROM login_failures
  WHERE namespace = $1 AND name_digest = $2
    AND (locked_until IS NULL OR locked_until <= clock_timestamp())`;

/** Creates the count of failed logins that all replicas share. */
export function createLoginFailureStore(pool: Pool, policy: LockoutPolicy): LoginFailures {
  const isLocked: LoginFailures["isLocked"] = async ({ namespace, digest }) =>
    (await pool.query(IS_LOCKED, [namespace, digest])).rows.length > 0;
  return {
    isLocked,
    async add({ namespace, digest }) {
      const { failures, lockMs, lockMaxMs } = policy;
      const values = [namespace, digest, failures, lockMs, lockMaxMs];
      const { rows } = await pool.query<{ readonly locked: boolean }>(ADD, values);
      return rows[0]?.locked ?? false;
    },
    async clear(name) {
      const { rowCount } = await pool.query(CLEAR, [name.namespace, name.digest]);
      // No row went: there was none, or it locks the name. Asked after the delete, which waited for any other count.
      return rowCount > 0 || !(await isLocked(name));
    },
  };
}
