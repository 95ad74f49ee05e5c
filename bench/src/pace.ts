/** The two ways to put load on something: at a fixed rate whatever happens, or as fast as it answers. */
import { setTimeout as wait } from "node:timers/promises";
import { NexusError } from "@nexus/shared";
import { monotonicMs } from "./machine-clock.ts";

/** A stretch of load; what happens in the warm-up is not counted. */
export interface Stretch {
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** How an open loop runs. */
export interface SteadyOptions extends Stretch {
  /** Time between two ticks, in milliseconds; each tick begins `perTick` pieces of work. */
  readonly tickMs: number;
  readonly perTick: number;
  /** Pieces of work in flight at most: beyond it a tick's work is left out, and counted as such. */
  readonly inFlightMax: number;
}

/** One planned piece of work. */
export interface Planned {
  /** Counts from 0 over warm-up and measurement. */
  readonly index: number;
  /** When it was to begin, by monotonicMs(). Count latencies from here: a stall is then charged to everything that
   * had to wait behind it (Gil Tene, "coordinated omission"). */
  readonly plannedAtMs: number;
  /** False in the warm-up. */
  readonly measured: boolean;
}

/** What an open loop did. */
export interface SteadyResult {
  /** Pieces of work of the measurement that were begun and ended well. */
  readonly done: number;
  /** Those that failed. */
  readonly failed: number;
  /** Those left out because too many were in flight: the rate was not sustained. */
  readonly leftOut: number;
  /** The first failure, for a person. */
  readonly failure: string | undefined;
}

/** Begins work at planned times, whether or not earlier work has ended; resolves when all of it has. */
export async function runSteadily(
  options: SteadyOptions,
  work: (planned: Planned) => Promise<void>,
): Promise<SteadyResult> {
  const tally = { done: 0, failed: 0, leftOut: 0, failure: undefined as string | undefined };
  const inFlight = new Set<Promise<void>>();
  const startedAtMs = monotonicMs();
  const ticks = Math.ceil((options.warmUpMs + options.measureMs) / options.tickMs);
  const begin = (planned: Planned) => {
    const one = work(planned)
      .then(() => {
        if (planned.measured) tally.done += 1;
      })
      .catch((error: unknown) => {
        tally.failure ??= describeFailure(error);
        if (planned.measured) tally.failed += 1;
      })
      .finally(() => inFlight.delete(one));
    inFlight.add(one);
  };
  for (let tick = 0; tick < ticks; tick += 1) {
    const sinceStartMs = tick * options.tickMs;
    const plannedAtMs = startedAtMs + sinceStartMs;
    const measured = sinceStartMs >= options.warmUpMs;
    await waitUntil(plannedAtMs);
    for (let piece = 0; piece < options.perTick; piece += 1) {
      if (inFlight.size < options.inFlightMax) {
        begin({ index: tick * options.perTick + piece, plannedAtMs, measured });
      } else if (measured) tally.leftOut += 1;
    }
  }
  await Promise.all(inFlight);
  return tally;
}

/** How a closed loop runs. */
export interface SaturateOptions extends Stretch {
  /** Pieces of work in flight, always. */
  readonly inFlight: number;
  /** How long the first piece of work may take to end well. The warm-up lasts until it has. @default a minute */
  readonly firstWithinMs?: number;
}

const FIRST_WITHIN_MS = 60_000;

/** What a closed loop did. */
export interface SaturateResult {
  /** Pieces of work that ended well inside the measurement, for each second of it. */
  readonly perSecond: number;
  /** How long each of those took, in milliseconds. */
  readonly latenciesMs: readonly number[];
  readonly failed: number;
  readonly failure: string | undefined;
}

/** Lets each lane do one piece of work after another; resolves when the last one of each has ended.
 *
 * A measurement in which nothing has ended yet goes on until something has: on a busy machine, a short one would show nothing.
 * Errors: an Error when nothing ended well in time, or when work failed and nothing ended well within the measurement. */
export async function runSaturated(
  options: SaturateOptions,
  work: (index: number) => Promise<void>,
): Promise<SaturateResult> {
  const latenciesMs: number[] = [];
  const tally = { failed: 0, failure: undefined as string | undefined };
  const { warmUpMs, measureMs, firstWithinMs = FIRST_WITHIN_MS } = options;
  const startedAtMs = monotonicMs();
  let fromMs = Number.POSITIVE_INFINITY;
  let untilMs = startedAtMs + firstWithinMs;
  let extendedUntilMs = untilMs;
  const warmUp = (firstAtMs: number) => {
    fromMs = Math.max(firstAtMs, startedAtMs + warmUpMs);
    untilMs = fromMs + measureMs;
    extendedUntilMs = untilMs + firstWithinMs;
  };
  const goesOn = () => {
    const isEmpty = latenciesMs.length === 0 && tally.failed === 0;
    return monotonicMs() < (isEmpty ? extendedUntilMs : untilMs);
  };
  let next = 0;
  const lane = async () => {
    while (goesOn()) {
      const beganAtMs = monotonicMs();
      try {
        await work(next++);
        const endedAtMs = monotonicMs();
        if (fromMs === Number.POSITIVE_INFINITY) warmUp(endedAtMs);
        if (latenciesMs.length === 0) untilMs = Math.max(untilMs, endedAtMs);
        if (endedAtMs >= fromMs && endedAtMs <= untilMs) latenciesMs.push(endedAtMs - beganAtMs);
      } catch (error) {
        tally.failure ??= describeFailure(error);
        tally.failed += 1;
        // A refusal at once must not turn the lane into a busy loop.
        const leftMs = Math.min(warmUpMs + measureMs, untilMs - monotonicMs());
        await wait(Math.min(pauseAfter(error), Math.max(0, leftMs)));
      }
    }
  };
  await Promise.all(Array.from({ length: options.inFlight }, lane));
  if (latenciesMs.length === 0) {
    const why = tally.failure === undefined ? "" : `; the first failure: ${tally.failure}`;
    const tookMs = Math.round(monotonicMs() - startedAtMs);
    throw new Error(`nothing ended well within ${tookMs} ms${why}`);
  }
  return { perSecond: (latenciesMs.length / (untilMs - fromMs)) * 1000, latenciesMs, ...tally };
}

const FAILURE_PAUSE_MS = 10;

/** As long as the refusal says, so that what is measured is a sender that does as it is told. */
function pauseAfter(error: unknown): number {
  const told = error instanceof NexusError ? error.details.retryAfterMs : undefined;
  return told ?? FAILURE_PAUSE_MS;
}

/** Resolves at once for a time that is past, so that a late loop catches up instead of shifting its plan. */
async function waitUntil(atMs: number): Promise<void> {
  const leftMs = atMs - monotonicMs();
  if (leftMs > 0) await wait(leftMs);
}

function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "reason" in error ? `${String(error.reason)}: ${error.message}` : error.message;
}
