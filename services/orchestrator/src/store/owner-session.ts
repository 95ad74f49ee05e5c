/** The one connection that may write, and holds the lock that says so. */

import {
  isRetryableConnectionError,
  type Pool,
  type PoolClient,
  type Queryable,
} from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import { SHARD } from "./shard.ts";

/** First key of the advisory lock: "NXOR". The second is the shard. */
const LOCK_CLASS = 0x4e584f52;
/** A connection whose other end is gone without a word is given up by the server after about this long, which frees
 * the lock for another replica. */
const DEAD_PEER_MS = 15_000;

/** Exclusive right to write, as long as its connection lives. */
export interface OwnerSession {
  /** Grows with every owner. */
  readonly epoch: bigint;
  /** True once the connection is gone: nothing can be written any more. */
  readonly lost: boolean;
  /** Runs one transaction on the connection that holds the lock, so that it can commit only while the lock is held.
   *
   * One at a time: the caller keeps the order. Errors: those of `fn`; unavailable/NOT_OWNER once lost, also when the
   * outcome of the COMMIT is unknown: read the state again before going on. */
  transaction<T>(fn: (client: Queryable) => Promise<T>): Promise<T>;
  /** Asks the connection whether it is alive. Errors: unavailable/NOT_OWNER when it is not. */
  ping(): Promise<void>;
  /** Gives the lock back by closing the connection. */
  close(): void;
}

/** Makes the error of a call that only the owner can serve. */
export function notOwner(message: string, cause?: unknown): NexusError {
  return new NexusError({ kind: "unavailable", reason: "NOT_OWNER", message, cause });
}

/** Tries to become the owner; undefined while another process is.
 *
 * Errors: unavailable/DATABASE_UNAVAILABLE.   Source: ADR 0004. */
export async function tryOpenOwnerSession(
  pool: Pool,
  owner: string,
): Promise<OwnerSession | undefined> {
  const client = await pool.connect();
  try {
    const { rows } = await client.query<{ held: boolean }>(
      "SELECT pg_try_advisory_lock($1, $2) AS held",
      [LOCK_CLASS, SHARD],
    );
    if (rows[0]?.held !== true) {
      client.release();
      return undefined;
    }
    const seconds = Math.round(DEAD_PEER_MS / 1_000 / 3);
    await client.query(
      `SET tcp_keepalives_idle = ${seconds}; SET tcp_keepalives_interval = ${seconds};
       SET tcp_keepalives_count = 2; SET tcp_user_timeout = ${DEAD_PEER_MS}`,
    );
    return new LockedSession(client, await takeEpoch(client, owner));
  } catch (error) {
    client.release(true);
    throw error;
  }
}

/** Waits for transactions of the owner before, which hold the row with FOR SHARE, and makes its later ones fail. */
async function takeEpoch(client: Queryable, owner: string): Promise<bigint> {
  const { rows } = await client.query<{ epoch: string }>(
    `INSERT INTO shard_owners AS o (shard, owner, epoch) VALUES ($1, $2, 1)
         ON CONFLICT (shard) DO UPDATE SET owner = excluded.owner, epoch = o.epoch + 1, taken_at = now()
     RETURNING epoch`,
    [SHARD, owner],
  );
  return BigInt(rows[0]?.epoch ?? 0);
}

class LockedSession implements OwnerSession {
  readonly epoch: bigint;
  readonly #client: PoolClient;
  #lost = false;

  constructor(client: PoolClient, epoch: bigint) {
    this.#client = client;
    this.epoch = epoch;
  }

  get lost(): boolean {
    return this.#lost;
  }

  async transaction<T>(fn: (client: Queryable) => Promise<T>): Promise<T> {
    if (this.#lost) throw notOwner("This replica lost its right to write.");
    try {
      await this.#client.query("BEGIN");
      const value = await fn(this.#client);
      await this.#commit();
      return value;
    } catch (error) {
      await this.#rollBack(error);
      throw error;
    }
  }

  async ping(): Promise<void> {
    if (this.#lost) throw notOwner("This replica lost its right to write.");
    try {
      await this.#client.query("SELECT 1");
    } catch (error) {
      throw this.#lose(error);
    }
  }

  close(): void {
    this.#lost = true;
    this.#client.release(true);
  }

  async #commit(): Promise<void> {
    let command: string;
    try {
      command = (await this.#client.query("COMMIT")).command;
    } catch (error) {
      // Whether it was stored is unknown, so memory can no longer be trusted: give up and read everything again.
      throw this.#lose(error);
    }
    if (command !== "COMMIT") {
      throw new NexusError({
        kind: "internal",
        reason: "TRANSACTION_ABORTED",
        message: "A statement of the transaction had failed, so nothing was stored.",
      });
    }
  }

  async #rollBack(cause: unknown): Promise<void> {
    if (this.#lost) return;
    if (isRetryableConnectionError(cause)) throw this.#lose(cause);
    try {
      await this.#client.query("ROLLBACK");
    } catch (error) {
      throw this.#lose(error);
    }
  }

  #lose(cause: unknown): NexusError {
    this.close();
    return notOwner(
      "This replica lost its database connection, and with it the right to write.",
      cause,
    );
  }
}

const HOLD_EPOCH = {
  name: "owner-hold-epoch",
  text: "SELECT 1 FROM shard_owners WHERE shard = $1 AND epoch = $2 FOR SHARE",
};

/** Ends a transaction on any other connection unless this epoch still owns; until it ends, no new owner can begin.
 *
 * Errors: unavailable/NOT_OWNER. */
export async function assertOwnerEpoch(client: Queryable, epoch: bigint): Promise<void> {
  const { rowCount } = await client.query(HOLD_EPOCH, [SHARD, epoch.toString()]);
  if (rowCount === 0) throw notOwner("Another replica owns the jobs now.");
}
