/** Shared state: writes and reads of one agent, and how long a change takes to another one. */

import { setTimeout as wait } from "node:timers/promises";
import { type Bucket, type NexusClient, type RunningAgent, StatePolicy } from "@nexus/sdk";
import { monotonicMs } from "../machine-clock.ts";
import { runSaturated, runSteadily, type SteadyResult, type Stretch } from "../pace.ts";
import { type Distribution, describeValues } from "../statistics.ts";

const TICK_MS = 10;
/** Below what the SDK lets wait. */
const IN_FLIGHT_MAX = 8_000;

/** What is written: keys in turn, each value with the moment at which it was to be written. */
interface Stamped {
  readonly atMs: number;
  readonly text: string;
}

/** Which bucket, and how many keys of it each agent uses. */
export interface StateOptions extends Stretch {
  readonly bucket: string;
  readonly keys: number;
  readonly valueChars: number;
}

/** Who writes, reads or watches: an agent, or a client in its name that reaches its mesh-router by itself. */
export type StateUser = Pick<RunningAgent, "agentId"> & {
  readonly state: Pick<RunningAgent["state"], "bucket">;
};

/** Writes or reads as fast as they are answered. */
export interface StateRate {
  readonly perSecond: number;
  readonly latencyMs: Distribution;
  readonly failed: number;
  readonly failure: string | undefined;
}

/** Writes at a fixed rate. */
export interface StateLatency {
  readonly latencyMs: Distribution;
  readonly result: SteadyResult;
}

/** Makes a bucket in which the last write wins. */
export async function createStateBucket(client: NexusClient, bucket: string): Promise<void> {
  const policy = StatePolicy.LWW;
  await client.state.createBucket({
    requestId: bucket,
    bucket,
    policy,
    quota: { keysMax: 100_000n },
  });
}

function bucketOf(agent: StateUser, { bucket }: StateOptions): Bucket<Stamped> {
  return agent.state.bucket<Stamped>(bucket);
}

function keyOf(agent: StateUser, { keys }: StateOptions, index: number): string {
  return `${agent.agentId}/${index % keys}`;
}

/** Keeps a window of writes open, each committed before it counts. */
export async function putSaturated(
  agent: StateUser,
  options: StateOptions & { readonly inFlight: number },
): Promise<StateRate> {
  const bucket = bucketOf(agent, options);
  const text = "x".repeat(options.valueChars);
  let index = 0;
  const { latenciesMs, ...rest } = await runSaturated(options, async () => {
    index += 1;
    await bucket.put(keyOf(agent, options, index), { atMs: 0, text });
  });
  return { ...rest, latencyMs: describeValues(latenciesMs) };
}

/** Keeps a window of reads open, each of what is committed then. */
export async function getSaturated(
  agent: StateUser,
  options: StateOptions & { readonly inFlight: number },
): Promise<StateRate> {
  const bucket = bucketOf(agent, options);
  let index = 0;
  const { latenciesMs, ...rest } = await runSaturated(options, async () => {
    index += 1;
    await bucket.get(keyOf(agent, options, index));
  });
  return { ...rest, latencyMs: describeValues(latenciesMs) };
}

/** Writes at a fixed rate, in small bursts. */
export async function putSteadily(
  agent: StateUser,
  options: StateOptions & { readonly perSecond: number },
): Promise<StateLatency> {
  const bucket = bucketOf(agent, options);
  const text = "x".repeat(options.valueChars);
  const latenciesMs: number[] = [];
  const perTick = (options.perSecond * TICK_MS) / 1_000;
  const pace = { ...options, tickMs: TICK_MS, perTick, inFlightMax: IN_FLIGHT_MAX };
  const result = await runSteadily(pace, async ({ index, plannedAtMs, measured }) => {
    const atMs = measured ? plannedAtMs : 0;
    await bucket.put(keyOf(agent, options, index), { atMs, text });
    if (measured) latenciesMs.push(monotonicMs() - plannedAtMs);
  });
  return { latencyMs: describeValues(latenciesMs), result };
}

/** When a watcher may end: a change that is late is late, and not left out. */
export interface WatchEnd {
  readonly expected: number;
  readonly patienceMs: number;
}

/** Follows a bucket and notes how old each change is when it comes. */
export class StateWatch {
  readonly #stop = new AbortController();
  readonly #agesMs: number[] = [];
  readonly #ended: Promise<void>;

  constructor(agent: StateUser, bucket: string) {
    this.#ended = this.#follow(agent, bucket);
  }

  /** Waits until as many changes have come as were to come, or so long; then ends it, and says how old they were. */
  async end({ expected, patienceMs }: WatchEnd): Promise<Distribution> {
    const giveUpAtMs = monotonicMs() + patienceMs;
    while (this.#agesMs.length < expected && monotonicMs() < giveUpAtMs) await wait(TICK_MS);
    this.#stop.abort();
    await this.#ended;
    return describeValues(this.#agesMs);
  }

  async #follow(agent: StateUser, bucket: string): Promise<void> {
    const { signal } = this.#stop;
    for await (const event of agent.state.bucket<Stamped>(bucket).watch({ signal })) {
      const atMs = event.kind === "put" ? (event.entry.value?.atMs ?? 0) : 0;
      if (atMs > 0) this.#agesMs.push(monotonicMs() - atMs);
    }
  }
}
