/** LISTEN on a connection of its own, which comes back by itself. NOTIFY is a hint: the tables are the truth. */
import { backoffDelayMs } from "@nexus/shared";
import { Client } from "pg";
import { assertIdentifier } from "./identifier.ts";
import { mapPgError } from "./pg-errors.ts";

const RECONNECT_BACKOFF = { initialMs: 100, multiplier: 2, maxMs: 5_000, jitter: 0.3 };
const CONNECTION_TIMEOUT_MS = 5_000;
const KEEP_ALIVE_DELAY_MS = 10_000;
/** An idle connection that a network device dropped reports nothing, so it is asked now and then. */
const PROBE_INTERVAL_MS = 15_000;
const PROBE_TIMEOUT_MS = 5_000;

/** The part of a logger that the listener needs. */
export interface ListenerLogger {
  warn(fields: object, message: string): void;
}

/** What to listen to. */
export interface ListenerOptions {
  readonly url: string;
  readonly channels: readonly string[];
  /** Called for each notification. Must not throw; a throw is logged. */
  readonly onNotify: (channel: string, payload: string) => void;
  /** Called each time LISTEN takes effect, the first time included: notifications may have been missed, so read again. */
  readonly onReconnect: () => void;
  readonly logger: ListenerLogger;
  /** Shown in pg_stat_activity. @default "nexus-listener" */
  readonly applicationName?: string;
}

/** A running listener. */
export interface Listener {
  /** Resolves when LISTEN first took effect or the listener was closed before that. */
  readonly ready: Promise<void>;
  /** Ends the connection; no callback fires afterwards. */
  close(): Promise<void>;
}

/** Starts to listen, and keeps listening until closed: a lost connection is replaced with backoff. */
export function createListener(options: ListenerOptions): Listener {
  for (const channel of options.channels) assertIdentifier(channel, "channel");
  const stop = new AbortController();
  let announceReady: () => void = () => undefined;
  const ready = new Promise<void>((resolve) => {
    announceReady = resolve;
  });
  const running = listenUntilStopped(options, stop.signal, announceReady);
  return {
    ready,
    close: async () => {
      stop.abort();
      await running;
      announceReady();
    },
  };
}

async function listenUntilStopped(
  options: ListenerOptions,
  stopped: AbortSignal,
  announceReady: () => void,
): Promise<void> {
  let failures = 0;
  while (!stopped.aborted) {
    try {
      await listenOnce(options, stopped, () => {
        failures = 0;
        announceReady();
      });
    } catch (error) {
      if (stopped.aborted) return;
      options.logger.warn({ err: mapPgError(error), channels: options.channels }, "listener lost");
    }
    failures += 1;
    if (!stopped.aborted) await pause(backoffDelayMs(failures, RECONNECT_BACKOFF), stopped);
  }
}

/** One connection's life. Resolves when stopped, rejects when the connection is lost. */
async function listenOnce(
  options: ListenerOptions,
  stopped: AbortSignal,
  onListening: () => void,
): Promise<void> {
  const client = new Client({
    connectionString: options.url,
    application_name: options.applicationName ?? "nexus-listener",
    connectionTimeoutMillis: CONNECTION_TIMEOUT_MS,
    query_timeout: PROBE_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
  });
  const lost = new Promise<never>((_resolve, reject) => {
    client.on("error", reject);
    client.on("end", () => reject(new Error("Connection terminated")));
  });
  // Awaited below; this keeps a loss before that point from being an unhandled rejection.
  lost.catch(() => undefined);
  client.on("notification", (message) => {
    if (stopped.aborted) return;
    guard(options, () => options.onNotify(message.channel, message.payload ?? ""));
  });
  try {
    await Promise.race([client.connect(), lost]);
    for (const channel of options.channels) await client.query(`LISTEN ${channel}`);
    onListening();
    guard(options, options.onReconnect);
    await Promise.race([probeUntilStopped(client, stopped), lost]);
  } finally {
    await endQuietly(client);
  }
}

async function probeUntilStopped(client: Client, stopped: AbortSignal): Promise<void> {
  while (!stopped.aborted) {
    await pause(PROBE_INTERVAL_MS, stopped);
    if (!stopped.aborted) await client.query("SELECT 1");
  }
}

function guard(options: ListenerOptions, callback: () => void): void {
  try {
    callback();
  } catch (error) {
    options.logger.warn({ err: error, channels: options.channels }, "listener callback threw");
  }
}

/** Ends the connection within the probe's time; a dead socket never confirms, so it is cut. */
async function endQuietly(client: Client): Promise<void> {
  const cut = setTimeout(() => client.connection.stream.destroy(), PROBE_TIMEOUT_MS);
  try {
    await client.end();
  } catch {
    // Already broken, which is what ending it means.
  } finally {
    clearTimeout(cut);
  }
}

/** Resolves after the delay or at once when stopped; never rejects. */
function pause(delayMs: number, stopped: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (stopped.aborted) return resolve();
    const finish = () => {
      clearTimeout(timer);
      stopped.removeEventListener("abort", finish);
      resolve();
    };
    const timer = setTimeout(finish, delayMs);
    stopped.addEventListener("abort", finish);
  });
}
