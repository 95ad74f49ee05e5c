import type { Pool, Queryable } from "@nexus/postgres";
import type { LoginFailures, LoginFailureWriter } from "../domain/ports.ts";

/** When a name is locked, and for how long. */
export interface LockoutPolicy {
  /** Failures from one address until it is locked out of the name. */
  readonly failures: number;
  /** Failures from all addresses together until the name is locked for everybody. */
  readonly nameFailures: number;
  /** The first lock; each failure after it doubles the next. */
  readonly lockMs: number;
  readonly lockMaxMs: number;
}

/** A count is forgotten when it began this long ago. */
export const LOGIN_FAILURE_RETENTION = "24 hours";

/** Stands in the place of an address for all of them. */
const EVERYWHERE = "*";

/** How an address is written: never as EVERYWHERE, whoever said what it is, or a failure would be counted twice in one row. */
const written = (address: string) =>
  address.startsWith(EVERYWHERE) ? `${EVERYWHERE}${address}` : address;

const IS_LOCKED = `
  SELECT 1 FROM login_counts
  WHERE namespace = $1 AND name_digest = $2 AND address IN ($3, '${EVERYWHERE}')
    AND locked_until > clock_timestamp()`;

/** Counts one more in a row, unless it is locked: trying on must not lengthen a lock, or anybody could keep anybody out for
 * ever. */
const countIn = (failures: string) => `
  ON CONFLICT (namespace, name_digest, address) DO UPDATE SET
    (failures, locked_until, failed_at, counted_since) = (
      SELECT c.count, CASE WHEN c.count >= ${failures} THEN clock_timestamp()
        + least($6 * power(2, least(c.count - ${failures}, 20)), $7) * interval '1 millisecond' END,
        clock_timestamp(), CASE WHEN c.is_over THEN clock_timestamp() ELSE f.counted_since END
      FROM (
        SELECT o.is_over, CASE WHEN o.is_over THEN 1 ELSE f.failures + 1 END AS count
        FROM (SELECT f.counted_since < clock_timestamp() - interval '${LOGIN_FAILURE_RETENTION}' AS is_over) o
      ) c)
    WHERE f.locked_until IS NULL OR f.locked_until <= clock_timestamp()
  RETURNING f.locked_until IS NOT NULL AS locked`;

const firstLock = (failures: string) =>
  `CASE WHEN ${failures} <= 1 THEN clock_timestamp() + $6 * interval '1 millisecond' END`;

// One statement, so that of many guesses at once each counts, and in the order of its rows as every other, so that two
// wait for each other and not for ever. Who is locked out of the name adds nothing to the count of all: from one address
// alone it is never reached.
const ADD = `
  WITH here AS (
    INSERT INTO login_counts AS f
      (namespace, name_digest, address, failures, locked_until, failed_at, counted_since)
    VALUES ($1, $2, $3, 1, ${firstLock("$4")}, clock_timestamp(), clock_timestamp())
    ${countIn("$4")}
  ), everywhere AS (
    INSERT INTO login_counts AS f
      (namespace, name_digest, address, failures, locked_until, failed_at, counted_since)
    SELECT $1, $2, '${EVERYWHERE}', 1, ${firstLock("$5")}, clock_timestamp(), clock_timestamp()
    FROM here
    ${countIn("$5")}
  )
  SELECT coalesce(bool_or(locked), false) AS locked
  FROM (SELECT locked FROM here UNION ALL SELECT locked FROM everywhere) counted`;

const IS_OPEN = "(locked_until IS NULL OR locked_until <= clock_timestamp())";
// The second part asks for the first, so that rows are locked in the order in which they are counted.
const CLEAR = `
  WITH here AS (
    DELETE FROM login_counts
    WHERE namespace = $1 AND name_digest = $2 AND address = $3 AND ${IS_OPEN} RETURNING 1
  )
  DELETE FROM login_counts
  WHERE namespace = $1 AND name_digest = $2 AND address = '${EVERYWHERE}' AND ${IS_OPEN}
    AND (SELECT count(*) FROM here) >= 0`;

const FORGET = "DELETE FROM login_counts WHERE namespace = $1 AND name_digest = $2 AND address";

/** Creates the count of failed logins that all replicas share. */
export function createLoginFailureStore(pool: Pool, policy: LockoutPolicy): LoginFailures {
  const isLocked: LoginFailures["isLocked"] = async ({ namespace, digest, address }) =>
    (await pool.query(IS_LOCKED, [namespace, digest, written(address)])).rows.length > 0;
  return {
    isLocked,
    async add({ namespace, digest, address }) {
      const { failures, nameFailures, lockMs, lockMaxMs } = policy;
      const key = [namespace, digest, written(address)];
      const values = [...key, failures, nameFailures, lockMs, lockMaxMs];
      const { rows } = await pool.query<{ readonly locked: boolean }>(ADD, values);
      return rows[0]?.locked ?? false;
    },
    async clear(name) {
      await pool.query(CLEAR, [name.namespace, name.digest, written(name.address)]);
      // Asked after the delete, which waited for any other count.
      return !(await isLocked(name));
    },
  };
}

/** Binds the count to a transaction. */
export function createLoginFailureWriter(client: Queryable): LoginFailureWriter {
  return {
    async forget({ namespace, digest }) {
      // In the order in which they are counted.
      await client.query(`${FORGET} <> '${EVERYWHERE}'`, [namespace, digest]);
      await client.query(`${FORGET} = '${EVERYWHERE}'`, [namespace, digest]);
    },
  };
}
