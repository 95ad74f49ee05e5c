/** Messages from one agent to another, each followed to its outcome. */
import type { RunningAgent } from "@nexus/sdk";
import { NexusError } from "@nexus/shared";
import { monotonicMs } from "../machine-clock.ts";
import { runSaturated, runSteadily, type SteadyResult, type Stretch } from "../pace.ts";
import { type Distribution, describeValues } from "../statistics.ts";

/** Subject of messages that need no answer, and of requests that do. */
export const NOTE_SUBJECT = "bench.note";
export const REQUEST_SUBJECT = "bench.request";

const TICK_MS = 10;
/** Below the router's own limit for one receiver, 1 000: what is over it would be refused, not slow. */
const IN_FLIGHT_MAX = 900;

/** What the router says when all of them are full. */
const MISSED_PAUSE_MS = 100;

/** Whom messages are for: an agent, any one agent that can do something, or all who subscribed to a topic. */
export type MessageTarget =
  | string
  | { readonly capability: string }
  | { readonly topic: string; readonly receivers: number };

/** How large messages are. */
export interface MessageLoad extends Stretch {
  /** Of the text that is the body; as JSON it has two more. */
  readonly bodyChars: number;
}

/** Where messages go. */
export interface MessageOptions extends MessageLoad {
  readonly to: MessageTarget;
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
  const post = posting(agent, options);
  return postSaturated(options, async (body) => {
    await post(body);
  });
}

/** Sends at a fixed rate, in small bursts; a request's latency ends with its reply, a note's with its outcome. */
export async function sendSteadily(
  agent: RunningAgent,
  options: MessageOptions & { readonly perSecond: number; readonly what: "note" | "request" },
): Promise<MessageLatency> {
  const { to } = options;
  const note = posting(agent, options);
  const request = (body: string) => agent.request(to as string, REQUEST_SUBJECT, body);
  const post = options.what === "note" ? note : request;
  return postSteadily(options, async (body) => {
    await post(body);
  });
}

/** Keeps a window of messages without outcome open, whatever posts them: ours or a peer's. */
export async function postSaturated(
  options: MessageLoad & { readonly inFlight: number },
  post: (body: string) => Promise<void>,
): Promise<MessageRate> {
  const body = "x".repeat(options.bodyChars);
  const { latenciesMs, ...rest } = await runSaturated(options, () => post(body));
  return { ...rest, latencyMs: describeValues(latenciesMs) };
}

/** Posts at a fixed rate, in small bursts. */
export async function postSteadily(
  options: MessageLoad & { readonly perSecond: number },
  post: (body: string) => Promise<void>,
): Promise<MessageLatency> {
  const body = "x".repeat(options.bodyChars);
  const latenciesMs: number[] = [];
  const pace = {
    ...options,
    tickMs: TICK_MS,
    perTick: (options.perSecond * TICK_MS) / 1_000,
    inFlightMax: IN_FLIGHT_MAX,
  };
  const result = await runSteadily(pace, async ({ plannedAtMs, measured }) => {
    await post(body);
    if (measured) latenciesMs.push(monotonicMs() - plannedAtMs);
  });
  return { latencyMs: describeValues(latenciesMs), result };
}

function posting(agent: RunningAgent, { to, durable }: MessageOptions) {
  if (typeof to === "string" || "capability" in to) {
    return (body: string) => agent.send(to, NOTE_SUBJECT, body, { durable });
  }
  return async (body: string) => {
    const { receivers, missed } = await agent.publish(to.topic, body, { durable });
    if (receivers === to.receivers) return;
    const message = `taken in for ${receivers} of ${to.receivers}, no room at ${missed}`;
    const details = { retryAfterMs: MISSED_PAUSE_MS };
    throw new NexusError({ kind: "exhausted", reason: "AGENT_OVERLOADED", message, details });
  };
}
