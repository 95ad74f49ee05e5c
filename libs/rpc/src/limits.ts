/** Every number that bounds a call, in one place. Sizes in bytes, times in milliseconds. */
import { KiB, MiB } from "@nexus/shared";

/** Largest message either side accepts or sends. */
export const MAX_MESSAGE_BYTES = 4 * MiB;

/** Largest request header block a server accepts. */
export const MAX_HEADER_BYTES = 16 * KiB;

/** Streams one connection may hold open at once. */
export const MAX_CONCURRENT_STREAMS = 1_000;

/** Deadline given to a unary call that brings none. */
export const DEFAULT_DEADLINE_MS = 30_000;

/** Timeout a client sets on a unary call when its caller names none. */
export const DEFAULT_CLIENT_TIMEOUT_MS = 10_000;

/** Kept back from a caller's remaining time, so that the callee's own answer arrives before the caller's clock
 * runs out (boulder, grpc/interceptors.go). */
export const DEADLINE_MARGIN_MS = 20;

/** How much before the client's deadline, but at most a tenth of the time it gave, the server answers
 * DEADLINE_EXCEEDED itself: without a head start the client's own clock wins and the answer carries no reason. */
export const DEADLINE_HEAD_START_MS = 20;

/** A connection older than this is asked to reconnect, which is what spreads clients over new replicas. */
export const MAX_CONNECTION_AGE_MS = 300_000;

/** How long the streams of an aged connection may go on. */
export const MAX_CONNECTION_AGE_GRACE_MS = 30_000;

/** How often a server looks for streams on connections that have reached their age. */
export const CONNECTION_AGE_SWEEP_MS = 1_000;

/** In how many of those looks the streams of one connection end, well within the grace. */
export const AGED_SWEEPS = 10;

/** Streams that end in one look however few there are. */
export const AGED_ENDS_MIN = 20;

/** Idle time after which a server pings a connection. */
export const SERVER_KEEPALIVE_MS = 60_000;

/** How long a server waits for the answer to its ping before it drops the connection. */
export const SERVER_KEEPALIVE_TIMEOUT_MS = 20_000;

/** Time after which a client with calls pings a connection. Shorter ones are not welcome everywhere: gRPC proposal A8 takes 10 s for the least. */
export const CLIENT_KEEPALIVE_MS = 10_000;

/** How long a client waits for the answer to its ping before it reconnects. */
export const CLIENT_KEEPALIVE_TIMEOUT_MS = 10_000;

/** How long a new connection may be without a byte of its server. The transport itself would wait for ever, and every call with it. */
export const HANDSHAKE_MAX_MS = 10_000;

/** First pause between a client's attempts to reconnect. */
export const RECONNECT_INITIAL_MS = 100;

/** Longest pause between a client's attempts to reconnect. */
export const RECONNECT_MAX_MS = 2_000;

/** Sent bytes a call may hold for the transport's own retry; larger requests are not repeated by it. */
export const RETRY_BUFFER_BYTES = 64 * KiB;

/** Unary attempts in all, the first included, for idempotent methods that meet UNAVAILABLE. */
export const MAX_ATTEMPTS = 4;

/** Wait after the first attempt. */
export const RETRY_INITIAL_MS = 50;

/** Longest wait between attempts, unless the server's RetryInfo asks for more. */
export const RETRY_MAX_MS = 1_000;

/** Factor between two waits. */
export const RETRY_MULTIPLIER = 2;

/** Share of a retry delay that is random, so that clients do not come back in step. */
export const RETRY_JITTER = 0.5;

/** Bytes a stream's writer may have in flight before it waits for the reader. */
export const WRITE_BUFFER_BYTES = 256 * KiB;

/** Messages a stream's writer may have in flight before it waits for the reader. */
export const WRITE_BUFFER_MESSAGES = 16;

/** Bytes that arrived on a stream and wait for its consumer before the transport is paused. */
export const READ_BUFFER_BYTES = 256 * KiB;

/** Messages that arrived on a stream and wait for its consumer before the transport is paused. */
export const READ_BUFFER_MESSAGES = 16;

/** Bytes that a peer may send on a stream, or on a connection, before it hears that some were read. HTTP/2's own 64 KiB are a fraction of one
 * full frame of messages: the sender stops several times in each, until the reader's turn comes. A stream whose reader does not read holds
 * so many bytes, besides READ_BUFFER_BYTES. */
export const FLOW_WINDOW_BYTES = 256 * KiB;

/** How long a stream handler may still send after `ctx.signal` told it that the server drains. */
export const DRAIN_LINGER_MS = 1_000;

/** A call slower than this is logged at info. */
export const SLOW_CALL_MS = 1_000;

/** Longest error text on the wire, percent-encoded as it travels. */
export const MAX_ERROR_TEXT_BYTES = KiB;

/** Bytes of field violations and ErrorInfo metadata together: gRPC core refuses trailers beyond 8 KiB, in which the
 * details are base64 and the text stands twice. */
export const MAX_ERROR_DETAILS_BYTES = 3 * KiB;

/** Limits of one server; absent fields take the constants above. */
export interface RpcServerLimits {
  readonly maxMessageBytes?: number;
  readonly maxHeaderBytes?: number;
  readonly maxConcurrentStreams?: number;
  /** How long a connection may be silent before it is given up, milliseconds. @default both SERVER_KEEPALIVE times */
  readonly silentMaxMs?: number;
  readonly maxConnectionAgeMs?: number;
  readonly maxConnectionAgeGraceMs?: number;
  readonly defaultDeadlineMs?: number;
  readonly drainLingerMs?: number;
}

/** Says when the transport pings a silent connection, and how long the answer may take; with `silentMaxMs`, half of it each. */
export function keepaliveOptions(
  silentMaxMs: number | undefined,
  { afterMs, timeoutMs }: { readonly afterMs: number; readonly timeoutMs: number },
) {
  const halfMs = silentMaxMs === undefined ? undefined : Math.ceil(silentMaxMs / 2);
  return {
    "grpc.keepalive_time_ms": halfMs ?? afterMs,
    "grpc.keepalive_timeout_ms": halfMs ?? timeoutMs,
  };
}
