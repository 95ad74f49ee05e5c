/** Messages that flow from senders to receivers, seen from both ends, whoever carries them. */
import { setTimeout as wait } from "node:timers/promises";
import { monotonicMs } from "../machine-clock.ts";
import type { Stretch } from "../pace.ts";
import type { MessageRate } from "./messages.ts";

/** Who speaks and who listens. */
export interface FlowParties {
  /** Each sends until the stretch is over. */
  readonly senders: readonly (() => Promise<MessageRate>)[];
  /** How many messages each receiver took in until now. */
  readonly takers: readonly (() => Promise<number>)[];
}

const POLL_MS = 50;
const FIRST_WITHIN_MS = 60_000;

/** What was seen. */
export interface Flow {
  /** Outcomes a second, of all senders. */
  readonly sentPerSecond: number;
  /** Messages a second in the hands of receivers, of all of them. */
  readonly takenPerSecond: number;
  /** Of the slowest sender. */
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly rates: readonly MessageRate[];
}

/** Has all senders send and counts at both ends.
 *
 * Errors: those of a sender. */
export async function measureFlow(stretch: Stretch, parties: FlowParties): Promise<Flow> {
  const { senders, takers } = parties;
  const sending = Promise.all(senders.map((send) => send()));
  const counted = count(stretch, takers);
  const [rates, takenPerSecond] = await Promise.all([sending, counted]);
  const slowest = (quantile: "p50" | "p95" | "p99") =>
    Math.max(...rates.map(({ latencyMs }) => latencyMs[quantile]));
  return {
    sentPerSecond: rates.reduce((sum, { perSecond }) => sum + perSecond, 0),
    takenPerSecond,
    p50: slowest("p50"),
    p95: slowest("p95"),
    p99: slowest("p99"),
    rates,
  };
}

async function count(
  { warmUpMs, measureMs }: Stretch,
  takers: FlowParties["takers"],
): Promise<number> {
  const read = async () => {
    const counts = await Promise.all(takers.map((taken) => taken()));
    return { taken: counts.reduce((sum, one) => sum + one, 0), atMs: monotonicMs() };
  };
  const before = await read();
  const giveUpAtMs = before.atMs + FIRST_WITHIN_MS;
  while ((await read()).taken === before.taken && monotonicMs() < giveUpAtMs) await wait(POLL_MS);
  await wait(Math.max(0, before.atMs + warmUpMs - monotonicMs()));
  const first = await read();
  await wait(measureMs);
  const last = await read();
  return ((last.taken - first.taken) / (last.atMs - first.atMs)) * 1_000;
}
