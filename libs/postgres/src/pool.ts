/** A bounded connection pool whose every error is a NexusError and which outlives restarts of the server. */

import type { NexusError } from "@nexus/shared";
import { type PoolClient as DriverClient, Pool as DriverPool, type PoolConfig } from "pg";
import { isRetryableConnectionError } from "./connection-errors.ts";
import { HistoryGuard } from "./history.ts";
import { assertIdentifier } from "./identifier.ts";
import { mapPgError } from "./pg-errors.ts";
import { wrapClient } from "./pool-client.ts";
import type { PoolClient, Queryable } from "./queryable.ts";

const STATEMENT_TIMEOUT_DEFAULT_MS = 10_000;
const IDLE_IN_TRANSACTION_TIMEOUT_DEFAULT_MS = 30_000;
const CONNECTION_TIMEOUT_DEFAULT_MS = 5_000;
const IDLE_CONNECTION_MS = 30_000;
const CONNECTION_LIFE_MAX_S = 1_800;
const KEEP_ALIVE_DELAY_MS = 10_000;
/** The client gives up this long after the server should have: it only fires when the network swallowed the answer. */
const READ_TIMEOUT_SLACK_MS = 5_000;
const ACQUIRE_RETRY_FIRST_MS = 25;
const ACQUIRE_RETRY_MAX_MS = 400;
/** A connection that came late is looked at all the same. */
const LOOK_MIN_MS = 500;
const CLOSE_GRACE_DEFAULT_MS = 5_000;
const LOG_NOTHING: PoolLogger = { warn: () => undefined };

/** A pool of connections to one schema. */
export interface Pool extends Queryable {
  readonly schema: string;
  /** Takes a connection out. Waits, through a restart of the server too, for at most the connection timeout.
   *
   * Errors: unavailable/DATABASE_UNAVAILABLE when none could be had in time; unavailable/DATABASE_HISTORY_CHANGED. */
  connect(): Promise<PoolClient>;
  /** Asks the database whether it answers, and how far its log is, which tells whether it lost some later.
   *
   * Errors: those of connect(). */
  check(): Promise<void>;
  /** Calls back once when the database goes on from another history than that of the first connection (a standby took over, a backup was
   * played back): what was committed before may be gone, and whoever remembers any of it has to begin anew. From then on the pool gives
   * no connection. */
  onHistoryChange(listener: (error: NexusError) => void): void;
  /** Connections now: all, idle, and callers waiting for one. */
  stats(): {
    readonly total: number;
    readonly idle: number;
    readonly waiting: number;
    readonly max: number;
  };
  /** Ends the pool: idle connections at once, busy ones when given back or after the grace. Safe to call twice. */
  close(graceMs?: number): Promise<void>;
}

/** The part of a logger that the pool needs. */
export interface PoolLogger {
  warn(fields: object, message: string): void;
}

/** How a pool is made. */
export interface PoolOptions {
  /** postgres://role:password@host:port/database */
  readonly url: string;
  /** Most connections at once. */
  readonly max: number;
  /** Shown in pg_stat_activity: the service's name. */
  readonly applicationName: string;
  /** Every session's search_path. */
  readonly schema: string;
  /** Server-side limit for one statement. @default 10_000 */
  readonly statementTimeoutMs?: number;
  /** The server ends a session that stands idle inside a transaction for this long. @default 30_000 */
  readonly idleInTransactionTimeoutMs?: number;
  /** Longest wait for a connection, new or freed. @default 5_000 */
  readonly connectionTimeoutMs?: number;
  /** Hears about idle connections that were lost; nothing else is logged. */
  readonly logger?: PoolLogger;
}

/** Creates a pool. Opens no connection until the first use, so a service can start before its database. */
export function createPool(options: PoolOptions): Pool {
  assertIdentifier(options.schema, "schema");
  const logger = options.logger ?? LOG_NOTHING;
  const timeoutMs = options.connectionTimeoutMs ?? CONNECTION_TIMEOUT_DEFAULT_MS;
  const statementTimeoutMs = options.statementTimeoutMs ?? STATEMENT_TIMEOUT_DEFAULT_MS;
  const readTimeoutMs = statementTimeoutMs === 0 ? 0 : statementTimeoutMs + READ_TIMEOUT_SLACK_MS;
  const inner = new DriverPool(driverOptions(options, { timeoutMs, statementTimeoutMs }));
  const busy = new Set<PoolClient>();
  const history = new HistoryGuard();
  /** Connections that belong to the history. */
  const admitted = new WeakSet<DriverClient>();
  let closing: Promise<void> | undefined;
  inner.on("error", (error) => {
    logger.warn(
      { err: mapPgError(error), schema: options.schema },
      "idle database connection lost",
    );
  });
  // A checked-out client that loses its connection emits `error`; without a listener that would end the process.
  // The statement in flight rejects with the same loss, so nothing is hidden here.
  inner.on("connect", (client) => client.on("error", () => undefined));

  const wrap = (connection: DriverClient): PoolClient => {
    const onRelease = () => busy.delete(client);
    const client: PoolClient = wrapClient(connection, { readTimeoutMs, onRelease });
    busy.add(client);
    return client;
  };
  const take = async (timeLeftMs: number): Promise<PoolClient> => {
    history.assertSame();
    const connection = await inner.connect();
    const client = wrap(connection);
    if (admitted.has(connection)) return client;
    try {
      await history.look(client, timeLeftMs);
    } catch (error) {
      client.release(true);
      throw error;
    }
    admitted.add(connection);
    return client;
  };
  const connect = (): Promise<PoolClient> => acquire(inner, take, timeoutMs);
  const using = async <T>(work: (client: PoolClient) => Promise<T>): Promise<T> => {
    const client = await connect();
    try {
      return await work(client);
    } finally {
      client.release();
    }
  };
  return {
    schema: options.schema,
    connect,
    check: () => using((client) => history.look(client, timeoutMs)),
    onHistoryChange: (listener) => history.onChange(listener),
    query: (statement, values) => using((client) => client.query(statement, values)),
    stats: () => ({
      total: inner.totalCount,
      idle: inner.idleCount,
      waiting: inner.waitingCount,
      max: options.max,
    }),
    close: (graceMs = CLOSE_GRACE_DEFAULT_MS) => {
      closing ??= endPool(inner, busy, graceMs);
      return closing;
    },
  };
}

function driverOptions(
  options: PoolOptions,
  { timeoutMs, statementTimeoutMs }: { timeoutMs: number; statementTimeoutMs: number },
): PoolConfig {
  return {
    connectionString: options.url,
    max: options.max,
    application_name: options.applicationName,
    // Statements begun before others are answered share a round trip. They are run one after the other all the same.
    pipeline: true,
    // No statement here is long enough to be worth compiling, and the estimates of one that is planned once for all values may say it is.
    options: `-c search_path=${options.schema} -c jit=off`,
    statement_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout:
      options.idleInTransactionTimeoutMs ?? IDLE_IN_TRANSACTION_TIMEOUT_DEFAULT_MS,
    connectionTimeoutMillis: timeoutMs,
    idleTimeoutMillis: IDLE_CONNECTION_MS,
    maxLifetimeSeconds: CONNECTION_LIFE_MAX_S,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
  };
}

/** Retrying here is safe, because nothing has been sent yet: a restart of the server, or a standby that is about to take over, shows as a slow
 * acquire. */
async function acquire(
  inner: DriverPool,
  take: (timeLeftMs: number) => Promise<PoolClient>,
  timeoutMs: number,
): Promise<PoolClient> {
  const giveUpAt = performance.now() + timeoutMs;
  let delayMs = ACQUIRE_RETRY_FIRST_MS;
  for (;;) {
    try {
      return await take(Math.max(giveUpAt - performance.now(), LOOK_MIN_MS));
    } catch (error) {
      const retry = isAway(error) && !inner.ending;
      if (!retry || performance.now() + delayMs >= giveUpAt) throw mapPgError(error);
    }
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    delayMs = Math.min(delayMs * 2, ACQUIRE_RETRY_MAX_MS);
  }
}

/** Says whether another connection may lead to a server that can be used. */
function isAway(error: unknown): boolean {
  return isRetryableConnectionError(error) || mapPgError(error).reason === "DATABASE_UNAVAILABLE";
}

async function endPool(inner: DriverPool, busy: Set<PoolClient>, graceMs: number): Promise<void> {
  // pg-pool waits for every client to be given back, so one that is held for ever is cut after the grace.
  const cut = setTimeout(() => {
    for (const client of busy) client.release(true);
  }, graceMs);
  try {
    await inner.end();
  } finally {
    clearTimeout(cut);
  }
}
