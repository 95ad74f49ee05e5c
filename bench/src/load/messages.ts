/** Messages from one agent to another, each followed to its outcome. */
import type { RunningAgent } from "@nexus/sdk";
import { monotonicMs } from "../machine-clock.ts";
import { runSaturated, runSteadily, type SteadyResult, type Stretch } from "../pace.ts";
import { type Distribution, describeValues } from "../statistics.ts";

/** Subject of messages that need no answer, and of requests that do. */
export const NOTE_SUBJECT = "bench.note";
export const REQUEST_SUBJECT = "bench.request";

const TICK_MS = 10;
/** Below the router's own limit for one receiver, 1 000: what is over it would be refused, not slow. */
const IN_FLIGHT_MAX = 900;

/** Where messages go and how large they are. */
export interface MessageOptions extends Stretch {
  readonly to: string;
  readonly bodyChars: number;
  /** Committed before the outcome. */
  readonly durable: boolean;
}

/** Messages as fast as their outcomes come. */
export interface MessageRate {
  readonly perSecond: number;
  readonly latencyMs: Distribution;
  readonly failed: number;
  readonly failure: string | undefined;
}

/** Messages at a fixed rate. */
export interface MessageLatency {
  readonly latencyMs: Distribution;
  readonly result: SteadyResult;
}

/** Keeps a window of messages without outcome open. */
export async function sendSaturated(
  agent: RunningAgent,
  options: MessageOptions & { readonly inFlight: number },
): Promise<MessageRate> {
  const body = "x".repeat(options.bodyChars);
  const { durable } = options;
  const { latenciesMs, ...rest } = await runSaturated(options, async () => {
    await agent.send(options.to, NOTE_SUBJECT, body, { durable });
  });
  return { ...rest, latencyMs: describeValues(latenciesMs) };
}

/** Sends at a fixed rate, in small bursts; a request's latency ends with its reply, a note's with its outcome. */
export async function sendSteadily(
  agent: RunningAgent,
  options: MessageOptions & { readonly perSecond: number; readonly what: "note" | "request" },
): Promise<MessageLatency> {
  const body = "x".repeat(options.bodyChars);
  const latenciesMs: number[] = [];
  const post =
    options.what === "note"
      ? () => agent.send(options.to, NOTE_SUBJECT, body)
      : () => agent.request(options.to, REQUEST_SUBJECT, body);
  const pace = {
    ...options,
    tickMs: TICK_MS,
    perTick: (options.perSecond * TICK_MS) / 1_000,
    inFlightMax: IN_FLIGHT_MAX,
  };
  const result = await runSteadily(pace, async ({ plannedAtMs, measured }) => {
    await post();
    if (measured) latenciesMs.push(monotonicMs() - plannedAtMs);
  });
  return { latencyMs: describeValues(latenciesMs), result };
}
