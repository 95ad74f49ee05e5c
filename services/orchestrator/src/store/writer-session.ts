/** The connection that a replica's serial transactions run on, and the check that every writing transaction begins with. */
import {
  int2Array,
  int8Array,
  isRetryableConnectionError,
  OpenTransaction,
  type Pool,
  type PoolClient,
  type Queryable,
  type Transaction,
  together,
} from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import { isRefused, REFUSALS } from "./refusals.ts";

/** What a replica may write for: its shards with their epochs, as it took them. */
export interface Holding {
  readonly replicaId: string;
  readonly shards: ReadonlyMap<number, bigint>;
}

/** A connection for transactions that run one at a time. */
export interface WriterSession {
  /** True once the connection is gone, or whether something was stored is unknown: read everything again. */
  readonly lost: boolean;
  /** Runs one transaction. One at a time: the caller keeps the order.
   *
   * Errors: those of `fn`; unavailable/NOT_OWNER once lost, also when the outcome of the COMMIT is unknown or `fn` fails after it. */
  transaction<T>(fn: (client: Transaction) => Promise<T>): Promise<T>;
  /** Asks the connection whether it is alive. Errors: unavailable/NOT_OWNER when it is not. */
  ping(): Promise<void>;
  /** Closes the connection. */
  close(): void;
}

/** Makes the error of a call that only the owner of a shard can serve. */
export function notOwner(message: string, cause?: unknown): NexusError {
  return new NexusError({ kind: "unavailable", reason: "NOT_OWNER", message, cause });
}

/** What the serial transactions do is look rows up by key, a few hundred at a time. Statistics say otherwise of a table that was empty
 * or small when they were made, and a plan that reads all of it is kept for as long as they last: the owner of a hundred thousand
 * jobs then reads them all to change ten. So plans by key are the only ones here. */
const BY_KEY =
  "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan";

/** For the rest of the transaction: intermediate results of thousands of rows are joined by hash, as they have no keys. */
export async function allowHashJoins(client: Queryable): Promise<void> {
  await client.query("SET LOCAL enable_hashjoin = on");
}

/** Takes a connection for a replica's transactions. Errors: unavailable/DATABASE_UNAVAILABLE. */
export async function openWriterSession(pool: Pool): Promise<WriterSession> {
  const client = await pool.connect();
  try {
    await client.query(BY_KEY);
  } catch (error) {
    client.release(true);
    throw error;
  }
  return new Session(client);
}

class Session implements WriterSession {
  readonly #client: PoolClient;
  #lost = false;

  constructor(client: PoolClient) {
    this.#client = client;
  }

  get lost(): boolean {
    return this.#lost;
  }

  async transaction<T>(fn: (client: Transaction) => Promise<T>): Promise<T> {
    if (this.#lost) throw notOwner("This replica lost its right to write.");
    const transaction = new OpenTransaction(this.#client);
    try {
      const [, value] = await together(transaction.begin("read committed"), fn(transaction));
      await transaction.commit();
      transaction.close();
      return value;
    } catch (error) {
      await this.#end(transaction, error);
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

  /** Rolls back what failed. What was stored, or may have been, memory cannot follow: give up and read everything again. */
  async #end(transaction: OpenTransaction, cause: unknown): Promise<void> {
    transaction.close();
    const outcome = await transaction.outcome();
    if (this.#lost) return;
    const inDoubt = outcome === "stored" || outcome === "unknown";
    if (inDoubt || isRetryableConnectionError(cause)) throw this.#lose(cause);
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

/** A function, so that it is one statement with two snapshots: the count sees what was committed while the lock was waited for. */
const HOLD = {
  name: "ring-hold",
  text: `SELECT assert_holding($1, $2::smallint[], $3::bigint[], '${REFUSALS.notHeld}')`,
};

/** Makes sure that a replica still owns what it thinks it owns; until the transaction ends, it stays so. In a transaction it is the
 * database that refuses to store anything otherwise, so that the COMMIT may be under way before the answer is here.
 *
 * Errors: unavailable/NOT_OWNER. */
export async function assertHolding(
  client: Queryable,
  { replicaId, shards }: Holding,
): Promise<void> {
  try {
    await client.query(HOLD, [
      replicaId,
      int2Array([...shards.keys()]),
      int8Array([...shards.values()]),
    ]);
  } catch (error) {
    if (!isRefused(error, "notHeld")) throw error;
    throw notOwner("Another replica owns these jobs, or put this one out.", error);
  }
}
