/** What agents can share, how fast, and how soon others see it. */
import { randomUUID } from "node:crypto";
import type { AgentWorker, Bed } from "../bed/bed.ts";
import type { Figure } from "../figure.ts";
import { formatCount, formatValue } from "../report.ts";
import { type Scenario, seconds, shortfall, stretchOf, windowOf } from "./scenario.ts";

/** For each of two writers. */
const PUT_WINDOW = 2_000;
const GET_WINDOW = 64;
const KEYS = 5_000;
const VALUE_CHARS = 128;
const PUTS_PER_SECOND = 2_500;
/** How long a watcher waits for changes that are late. */
export const WATCH_PATIENCE_MS = 10_000;

/** Two agents write and read, a third one watches. */
export const stateScenario: Scenario = {
  name: "state",
  about: "committed writes and reads of shared state a second, and how soon a watcher sees a write",
  run: measureState,
  partOf: "mesh",
};

/** Saturation, then a steady rate beside a watcher, then reads. */
export async function measureState(bed: Bed): Promise<Figure[]> {
  const [first, second, watcher] = await threeAgents(bed);
  const bucket = `bench-${randomUUID()}`;
  await (await bed.client()).call("createStateBucket", bucket);
  const stretch = stretchOf(bed, { warmUpMs: 2_000, measureMs: 10_000 });
  const common = { ...stretch, bucket, keys: KEYS, valueChars: VALUE_CHARS };
  const both = <T>(tell: (agent: AgentWorker) => Promise<T>) =>
    Promise.all([first, second].map(tell));
  const inFlight = windowOf(bed, PUT_WINDOW);
  const puts = await both((one) => one.call("putSaturated", { ...common, inFlight }));
  await bed.settle();
  await watcher.call("watchState", bucket);
  const steady = { ...common, perSecond: PUTS_PER_SECOND };
  const paced = await both((one) => one.call("putSteadily", steady));
  const written = paced.reduce((sum, { result }) => sum + result.done, 0);
  const seen = await watcher.call("endWatch", { expected: written, patienceMs: WATCH_PATIENCE_MS });
  const gets = await both((one) => one.call("getSaturated", { ...common, inFlight: GET_WINDOW }));
  const what = `two agents, ${VALUE_CHARS} characters, ${seconds(stretch.measureMs)}`;
  const fell = (all: readonly Parameters<typeof shortfall>[0][]) => all.map(shortfall).join("");
  const p95 = Math.max(...puts.map(({ latencyMs }) => latencyMs.p95));
  const rate = `${formatCount(2 * PUTS_PER_SECOND)} puts/s, ${what}${fell(paced.map(({ result }) => result))}`;
  return [
    {
      key: "state_updates_per_second",
      value: sumOf(puts),
      load: `windows of ${inFlight} (p95 ${formatValue(p95)} ms), ${what}${fell(puts)}`,
    },
    {
      key: "state_put_p95_ms",
      value: Math.max(...paced.map(({ latencyMs }) => latencyMs.p95)),
      load: rate,
    },
    {
      key: "state_watch_p95_ms",
      value: seen.p95,
      load: `${rate}, one watcher${unseen(written, seen)}`,
    },
    {
      key: "state_gets_per_second",
      value: sumOf(gets),
      load: `windows of ${GET_WINDOW}, ${what}${fell(gets)}`,
    },
  ];
}

/** Says how many changes a watcher did not see in time; empty when it saw all. */
export function unseen(written: number, { count }: { readonly count: number }): string {
  return count >= written ? "" : `; ${formatCount(written - count)} NOT SEEN`;
}

function sumOf(rates: readonly { readonly perSecond: number }[]): number {
  return rates.reduce((sum, { perSecond }) => sum + perSecond, 0);
}

async function threeAgents(bed: Bed) {
  const [first, second, watcher] = await bed.agents();
  if (first === undefined || second === undefined || watcher === undefined) {
    throw new Error("there are no three agents");
  }
  return [first, second, watcher] as const;
}
