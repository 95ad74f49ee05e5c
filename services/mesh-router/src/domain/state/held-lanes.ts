/** Calls of buckets that somebody else holds: each bucket waits alone, in the order of its calls, and keeps no other from its commit. */
import { type Batcher, createBatcher, NexusError } from "@nexus/shared";
import { HELD_AT_ONCE, HELD_CALLS_MAX, WRITE_BATCH, WRITES_QUEUED_MAX } from "./state-limits.ts";
import type { CommitResult } from "./state-ports.ts";
import type { WriteCall } from "./write.ts";

const FULL_RETRY_MS = 100;

interface Waiting {
  readonly call: WriteCall;
  readonly resolve: (result: CommitResult) => void;
}

/** The lanes of one replica. */
export class HeldLanes {
  readonly #commit: (calls: readonly WriteCall[]) => Promise<readonly CommitResult[]>;
  readonly #lanes = new Map<string, Waiting[]>();
  readonly #turns: Batcher<() => Promise<void>, void>;
  readonly #running = new Set<Promise<void>>();

  /** `commit` waits for the bucket of the calls, and never rejects. */
  constructor(commit: (calls: readonly WriteCall[]) => Promise<readonly CommitResult[]>) {
    this.#commit = commit;
    this.#turns = createBatcher<() => Promise<void>, void>({
      name: "held bucket",
      maxItems: 1,
      maxDelayMs: 0,
      maxQueued: WRITES_QUEUED_MAX,
      concurrency: HELD_AT_ONCE,
      flush: async ([turn]) => [await turn?.()],
    });
  }

  /** Calls that wait in lanes. */
  get waiting(): number {
    let sum = 0;
    for (const lane of this.#lanes.values()) sum += lane.length;
    return sum;
  }

  /** Says whether calls of the bucket wait here: later ones have to wait behind them. */
  has(call: WriteCall): boolean {
    return this.#lanes.has(laneOf(call));
  }

  /** Takes a call; resolves with what became of it. */
  add(call: WriteCall): Promise<CommitResult> {
    const name = laneOf(call);
    const lane = this.#lanes.get(name) ?? [];
    if (lane.length >= HELD_CALLS_MAX) return Promise.resolve(laneFull(call));
    const result = new Promise<CommitResult>((resolve) => lane.push({ call, resolve }));
    if (!this.#lanes.has(name)) {
      this.#lanes.set(name, lane);
      const run = this.#run(name, lane).finally(() => this.#running.delete(run));
      this.#running.add(run);
    }
    return result;
  }

  /** Waits for what was taken. */
  async close(): Promise<void> {
    await Promise.all(this.#running);
    await this.#turns.close();
  }

  async #run(name: string, lane: Waiting[]): Promise<void> {
    while (lane.length > 0) {
      try {
        await this.#turns.add(() => this.#step(lane));
      } catch (error) {
        // More buckets are held than may wait for their turn.
        for (const { resolve } of lane.splice(0)) resolve(NexusError.from(error));
      }
    }
    this.#lanes.delete(name);
  }

  async #step(lane: Waiting[]): Promise<void> {
    const part = lane.splice(0, WRITE_BATCH);
    const results = await this.#commit(part.map(({ call }) => call));
    for (const [at, { resolve }] of part.entries()) resolve(results[at] as CommitResult);
  }
}

function laneOf({ namespace, bucket }: WriteCall): string {
  return `${namespace}/${bucket}`;
}

function laneFull({ bucket }: WriteCall): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "QUEUE_FULL",
    message: `Somebody holds the bucket ${bucket}, and too many calls wait for it.`,
    details: { retryAfterMs: FULL_RETRY_MS },
  });
}
