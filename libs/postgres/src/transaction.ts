/** Transactions with a bounded retry of serialization failures and deadlocks. */
import process from "node:process";
import { backoffDelayMs, NexusError, sleep } from "@nexus/shared";
import { endsServer, isRetryableConnectionError, sqlStateOf } from "./connection-errors.ts";
import { mapPgError } from "./pg-errors.ts";
import type { Pool } from "./pool.ts";
import type { PipelinedClient, PoolClient, Queryable, Statement } from "./queryable.ts";
import { together } from "./together.ts";

const RETRIES_DEFAULT = 3;
const RETRY_BACKOFF = { initialMs: 5, multiplier: 2, maxMs: 100, jitter: 0.5 };
const RETRYABLE_STATES: ReadonlySet<string> = new Set(["40001", "40P01"]);

/** Isolation levels as Postgres names them. */
export type IsolationLevel = "read committed" | "repeatable read" | "serializable";

const COMMIT: Statement = { name: "commit", text: "COMMIT" };
const NOTHING: Promise<void> = Promise.resolve();

/** How a transaction runs. */
export interface TransactionOptions {
  /** @default "read committed" */
  readonly isolation?: IsolationLevel;
  /** Repeats after a serialization failure or deadlock; 0 gives up at once. @default 3 */
  readonly retries?: number;
}

/** The statements of one transaction, and its end. */
export interface Transaction extends Queryable {
  /** Waits for statements that were begun at once, as `together` does, and has COMMIT share their round trip; resolves once they are
   * stored. What must not be stored has to fail in the database, or before its statement is sent, and nothing may follow. Without
   * it the transaction is committed at the end.
   *
   * Errors: that of the first statement that failed; unavailable/COMMIT_OUTCOME_UNKNOWN. */
  commitWith<const T extends readonly unknown[]>(
    ...statements: { readonly [K in keyof T]: Promise<T[K]> }
  ): Promise<T>;
}

/** What became of a transaction's COMMIT; `open`: none was sent, `aborted`: nothing was stored. */
export type CommitOutcome = "open" | "stored" | "aborted" | "unknown";

/** Owns the beginning and the end of one transaction. */
export class OpenTransaction implements Transaction {
  readonly #client: PipelinedClient;
  #committed: Promise<void> | undefined;
  /** True once the database has refused a statement: whatever becomes of the COMMIT behind it, nothing is stored. */
  #refused = false;
  /** Set while BEGIN has left and is not answered: what fails behind it in another pipeline would be stored by itself. */
  #beginning: Promise<unknown> | undefined;
  /** Why no statement may be sent: without BEGIN, or behind ROLLBACK, it would be stored by itself. */
  #closed: Error | undefined;

  constructor(client: PoolClient) {
    this.#client = client.pipelined;
  }

  /** Sends BEGIN, with which what is begun at once behind it leaves; what is begun later waits for its answer. */
  async begin(isolation: IsolationLevel): Promise<void> {
    // Without a name: what fails to find a prepared statement must not be what keeps the others together.
    const begun = this.#client.query(`BEGIN ISOLATION LEVEL ${isolation.toUpperCase()}`);
    process.nextTick(() => {
      this.#beginning = begun.then(
        () => (this.#beginning = undefined),
        () => (this.#beginning = undefined),
      );
    });
    try {
      await begun;
    } catch (error) {
      // What left with it may have been stored all the same, if the answer was lost.
      if (sqlStateOf(error) !== undefined) this.#refused = true;
      this.#closed = error instanceof Error ? error : mapPgError(error);
      throw error;
    }
  }

  async query<R extends object>(statement: string | Statement, values?: readonly unknown[]) {
    if (this.#beginning !== undefined) await this.#beginning;
    if (this.#closed !== undefined) throw this.#closed;
    if (this.#committed !== undefined) {
      throw new Error("A statement was begun after its transaction's COMMIT.");
    }
    try {
      return await this.#client.query<R>(statement, values);
    } catch (error) {
      if (sqlStateOf(error) !== undefined) this.#refused = true;
      throw error;
    }
  }

  async commitWith<const T extends readonly unknown[]>(
    ...statements: { readonly [K in keyof T]: Promise<T[K]> }
  ): Promise<T> {
    // What has not left yet takes COMMIT with it.
    const isFirst = this.#beginning === undefined;
    const letGo = this.#client.hold();
    let committed: Promise<void> | undefined;
    try {
      // The database knows nothing of what failed before it was sent, and would store the rest.
      if (!(await haveFailed(statements))) committed = this.#commitOnce(isFirst);
    } finally {
      letGo();
    }
    const [results] = await together(together<T>(...statements), committed ?? NOTHING);
    return results;
  }

  /** Lets no statement follow: called before ROLLBACK, or when the connection is given back. */
  close(): void {
    this.#closed ??= new Error("A statement was begun after its transaction's end.");
  }

  /** Sends COMMIT, once. */
  commit(): Promise<void> {
    return this.#commitOnce(false);
  }

  #commitOnce(isFirst: boolean): Promise<void> {
    this.#committed ??= this.#commit(isFirst);
    return this.#committed;
  }

  async #commit(isFirst: boolean): Promise<void> {
    if (!isFirst && this.#beginning !== undefined) await this.#beginning;
    if (this.#closed !== undefined) throw this.#closed;
    await commit(this.#client);
  }

  /** Resolves once it is known what became of the COMMIT, or that this cannot be known. */
  async outcome(): Promise<CommitOutcome> {
    if (this.#committed === undefined) return "open";
    try {
      await this.#committed;
      return "stored";
    } catch (error) {
      return isOutcomeUnknown(error) && !this.#refused ? "unknown" : "aborted";
    }
  }
}

/** Runs `fn` inside one transaction: commits when it resolves, rolls back when it throws before its COMMIT.
 *
 * `fn` runs again, from the start, after 40001 and 40P01, so it must keep its side effects inside the transaction.
 * Errors: those of `fn` as they are; conflict/SERIALIZATION_FAILURE when the retries are used up;
 * unavailable/COMMIT_OUTCOME_UNKNOWN when the connection broke during COMMIT, or `fn` failed after it (it may have happened: retry
 * idempotently). */
export async function withTransaction<T>(
  pool: Pool,
  fn: (client: Transaction) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  const retries = options.retries ?? RETRIES_DEFAULT;
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await runOnce(pool, fn, options.isolation ?? "read committed");
    } catch (error) {
      // One that may have been stored must not be made again, whatever its cause says.
      const mayRetry = !isOutcomeUnknown(error) && RETRYABLE_STATES.has(sqlStateOf(error) ?? "");
      if (attempt >= retries || !mayRetry) throw error;
    }
    await sleep(backoffDelayMs(attempt + 1, RETRY_BACKOFF));
  }
}

async function runOnce<T>(
  pool: Pool,
  fn: (client: Transaction) => Promise<T>,
  isolation: IsolationLevel,
): Promise<T> {
  const client = await pool.connect();
  const transaction = new OpenTransaction(client);
  let destroy = true;
  try {
    const [, value] = await together(transaction.begin(isolation), fn(transaction));
    await transaction.commit();
    destroy = false;
    return value;
  } catch (error) {
    transaction.close();
    const outcome = await transaction.outcome();
    destroy = !(await rolledBack(client));
    if (outcome === "stored" || outcome === "unknown") throw outcomeUnknown(error);
    throw error instanceof Error ? error : mapPgError(error);
  } finally {
    transaction.close();
    client.release(destroy);
  }
}

async function commit(client: Queryable): Promise<void> {
  let command: string | undefined;
  try {
    command = (await client.query(COMMIT)).command;
  } catch (error) {
    // Whatever the server did not answer itself may have hit the connection after the commit, and so may its own end.
    const isAnswer =
      sqlStateOf(error) !== undefined && !isRetryableConnectionError(error) && !endsServer(error);
    throw isAnswer ? error : outcomeUnknown(error);
  }
  // Postgres answers COMMIT of a failed transaction with the tag ROLLBACK and no error: an error was swallowed by fn.
  if (command !== "COMMIT") {
    throw new NexusError({
      kind: "internal",
      reason: "TRANSACTION_ABORTED",
      message: "a statement of the transaction had failed, so nothing was stored",
    });
  }
}

/** Says whether one of them has failed by itself: all that needs no answer of the database has happened by the next tick. */
async function haveFailed(statements: readonly Promise<unknown>[]): Promise<boolean> {
  let failed = false;
  for (const statement of statements) {
    statement.catch(() => {
      failed = true;
    });
  }
  await Promise.resolve();
  await new Promise<void>((resolve) => process.nextTick(resolve));
  return failed;
}

function isOutcomeUnknown(error: unknown): error is NexusError {
  return NexusError.is(error, "unavailable", "COMMIT_OUTCOME_UNKNOWN");
}

function outcomeUnknown(cause: unknown): NexusError {
  if (isOutcomeUnknown(cause)) return cause;
  return new NexusError({
    kind: "unavailable",
    reason: "COMMIT_OUTCOME_UNKNOWN",
    message: "the database connection was lost while committing; retry with the same request id",
    cause,
  });
}

async function rolledBack(client: PoolClient): Promise<boolean> {
  try {
    await client.query("ROLLBACK");
    return true;
  } catch {
    // The connection is gone, which rolls back as well; the caller destroys it and reports the first error.
    return false;
  }
}
