/** A connection to Redis that comes back by itself and never lets commands pile up. */
import { backoffDelayMs } from "@nexus/shared";
import { Redis, ReplyError } from "ioredis";

const RECONNECT_BACKOFF = { initialMs: 50, multiplier: 2, maxMs: 2_000, jitter: 0.3 };
const CONNECT_TIMEOUT_MS = 5_000;
const KEEP_ALIVE_DELAY_MS = 10_000;

/** How a connection is opened. */
export interface ConnectionOptions {
  /** `redis://` or, with TLS, `rediss://`, with user and password. */
  readonly url: string;
  /** Shown in CLIENT LIST. */
  readonly name: string;
  /** A command without an answer for this long has failed. */
  readonly commandTimeoutMs: number;
}

/** Opens a connection. While it is away every command fails at once: nothing waits in a queue.
 *
 * The owner listens to `error`, which comes with each failed try. */
export function openConnection({ url, name, commandTimeoutMs }: ConnectionOptions): Redis {
  return new Redis(url, {
    connectionName: name,
    connectTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: commandTimeoutMs,
    keepAlive: KEEP_ALIVE_DELAY_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => backoffDelayMs(attempt, RECONNECT_BACKOFF),
  });
}

/** Takes the command out of an error: the arguments of AUTH are a password, and those of XADD what somebody said. */
export function withoutCommand(error: unknown): unknown {
  if (error instanceof Error && "command" in error) delete error.command;
  return error;
}

/** Says whether Redis itself said no: the connection is well, and yet nothing is carried. */
export function isRefusal(error: unknown): boolean {
  return error instanceof ReplyError;
}

/** Replaces a connection that does not answer, which is no better than none. What waited for an answer fails. */
export function replaceConnection(redis: Redis): void {
  if (redis.status === "ready") redis.stream.destroy();
}

/** Resolves when the connection can be used, or the signal aborts. */
export function untilReady(redis: Redis, stopped: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (redis.status === "ready" || stopped.aborted) return resolve();
    const finish = () => {
      redis.off("ready", finish);
      stopped.removeEventListener("abort", finish);
      resolve();
    };
    redis.on("ready", finish);
    stopped.addEventListener("abort", finish);
  });
}
