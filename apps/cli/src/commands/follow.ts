/** The one loop of all commands that follow something: over broken streams, the planned ends of connections, and ended tokens. */
import { backoffDelayMs, NexusError, sleep } from "@nexus/shared";
import type { CommandContext } from "../command.ts";
import { EXIT } from "../exit-codes.ts";

/** Streams that may break one after the other: whoever waits for a job or a task is told some time. */
export const FAILURES_MAX = 10;
const RECONNECT = { initialMs: 200, multiplier: 2, maxMs: 5_000, jitter: 0.5 };
/** A stream that lasted this long was connected, though nothing may have come, unless it waited for its connection. */
const STOOD_MS = 2_000;
/** What grpc-js says of a call that never had a connection: refused, or one that the other end took and left silent. */
const NEVER_CONNECTED = /\bNo connection established\b/;

/** What is followed, and how to go on with it. */
export interface Following<M> {
  /** Opens a stream where the last one ended. */
  open(): AsyncIterable<M>;
  /** Takes a message; a number ends the command with it. */
  take(message: M): Promise<number | undefined> | number | undefined;
  /** Asked when a stream ended well; a number ends the command with it. */
  end?(): Promise<number | undefined>;
  /** What is to be known of the stream that follows a break, said on standard error. */
  resumed?(): string | undefined;
  /** How many streams in a row may break before the command gives up. Left out: it gives up at the start only, for somebody
   * who watches a screen. */
  readonly failuresMax?: number;
}

/** How a following stands. */
interface Standing {
  /** Broken streams since the last one that was connected. */
  failures: number;
  /** Some stream was connected. */
  wasConnected: boolean;
  /** The last stream ended, and nothing has come since. */
  isBroken: boolean;
  /** The break was said. */
  isSaid: boolean;
}

/** Follows until something ends it. Returns the exit code.
 *
 * Errors: what a stream broke with that another one would not mend; anything once the command is interrupted. */
export async function follow<M>(ctx: CommandContext, following: Following<M>): Promise<number> {
  const standing = { failures: 0, wasConnected: false, isBroken: false, isSaid: false };
  for (;;) {
    const code = await followOnce(ctx, following, standing);
    if (code !== undefined) return code;
    standing.isBroken = true;
    await sleep(backoffDelayMs(Math.max(1, standing.failures), RECONNECT), ctx.signal);
    ctx.reconnect();
  }
}

/** Follows what has no end: an interrupt is how it ends well. */
export async function followUntilInterrupted<M>(
  ctx: CommandContext,
  following: Following<M>,
): Promise<number> {
  try {
    return await follow(ctx, following);
  } catch (error) {
    if (!ctx.signal.aborted) throw error;
    return EXIT.ok;
  }
}

async function followOnce<M>(
  ctx: CommandContext,
  following: Following<M>,
  standing: Standing,
): Promise<number | undefined> {
  const openedAtMs = performance.now();
  try {
    for await (const message of following.open()) {
      if (standing.isBroken) sayResumed(ctx, following, standing);
      markConnected(standing);
      const code = await following.take(message);
      if (code !== undefined) return code;
    }
    markConnected(standing);
    return await following.end?.();
  } catch (error) {
    if (ctx.signal.aborted) throw error;
    const isPlanned = NexusError.isPlannedEnd(error);
    const failure = NexusError.from(error);
    const hasStood = performance.now() - openedAtMs > STOOD_MS && hadConnection(failure);
    if (isPlanned || hasStood) markConnected(standing);
    if (!mayGoOn(failure, standing, following)) throw error;
    standing.failures += 1;
    if (!isPlanned) sayBroken(ctx, failure, standing);
    return undefined;
  }
}

function hadConnection({ cause }: NexusError): boolean {
  return !(cause instanceof Error && NEVER_CONNECTED.test(cause.message));
}

function markConnected(standing: Standing): void {
  standing.failures = 0;
  standing.wasConnected = true;
}

function mayGoOn<M>(error: NexusError, standing: Standing, following: Following<M>): boolean {
  const { kind, details } = error;
  // A login is renewed by the next stream; a token that is refused again at once is no good.
  if (kind === "unauthenticated") return standing.wasConnected && standing.failures === 0;
  const isBound =
    kind === "exhausted" && (standing.wasConnected || details.retryAfterMs !== undefined);
  if (kind !== "unavailable" && !isBound) return false;
  if (following.failuresMax === undefined) return standing.wasConnected;
  return standing.failures + 1 < following.failuresMax;
}

/** Once for all streams that break in a row. */
function sayBroken(ctx: CommandContext, error: NexusError, standing: Standing): void {
  if (standing.isSaid) return;
  standing.isSaid = true;
  note(ctx, `${error.message} (${error.reason}); trying again`);
}

function sayResumed<M>(ctx: CommandContext, following: Following<M>, standing: Standing): void {
  standing.isBroken = false;
  const about = following.resumed?.();
  if (about !== undefined) note(ctx, `connected again; ${about}`);
  else if (standing.isSaid) note(ctx, "connected again");
  standing.isSaid = false;
}

function note({ terminal }: CommandContext, text: string): void {
  terminal.stderr.write(`... ${text}\n`);
}
