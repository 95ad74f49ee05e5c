/** Joins the calls of one moment: writes into transactions, reads into statements. Both queues are bounded. */
import { type Batcher, type Clock, createBatcher, NexusError } from "@nexus/shared";
import type { Entry } from "./entry.ts";
import { HeldLanes } from "./held-lanes.ts";
import type { BucketSight, KeyMemory } from "./key-memory.ts";
import { GIVEN_UP, toError } from "./refusals.ts";
import {
  READ_BATCH,
  READS_AT_ONCE,
  READS_QUEUED_MAX,
  SCANS_AT_ONCE,
  SCANS_QUEUED_MAX,
  SIGHT_BATCH,
  WRITE_BATCH,
  WRITE_BATCH_BYTES,
  WRITE_BATCH_OPS,
  WRITES_QUEUED_BYTES_MAX,
  WRITES_QUEUED_MAX,
} from "./state-limits.ts";
import {
  type CommitResult,
  type FoundKey,
  type FoundKeys,
  HELD,
  type KeyName,
  type KeysName,
  type ReadStore,
  type StateEvents,
  type WriteStore,
} from "./state-ports.ts";
import type { CallResult, WriteCall } from "./write.ts";

/** What the queue is made from. */
export interface StateQueueInit {
  readonly writes: WriteStore;
  readonly reads: ReadStore;
  readonly memory: KeyMemory;
  readonly events: StateEvents;
  readonly clock: Clock;
}

/** What an operation costs beside its value, for accounting. */
const OP_BYTES = 256;
const FULL_RETRY_MS = 50;
const never = (): boolean => false;

/** The answer to a call, or the promise of it where its bucket is held: the others of its batch need not wait for that. */
type Flushed = CommitResult | { readonly later: Promise<CommitResult> };

/** The queues of one replica. */
export class StateQueue {
  readonly #init: StateQueueInit;
  readonly #writes: Batcher<WriteCall, Flushed>;
  readonly #held: HeldLanes;
  readonly #reads: Batcher<KeyName, FoundKey>;
  readonly #sights: Batcher<Pick<KeyName, "namespace" | "bucket">, BucketSight | undefined>;
  readonly #scans: Batcher<() => Promise<unknown>, unknown>;
  #queuedBytes = 0;

  constructor(init: StateQueueInit) {
    this.#init = init;
    this.#held = new HeldLanes((calls) => this.#commitHeld(calls));
    this.#writes = createBatcher({
      name: "state write",
      maxItems: WRITE_BATCH,
      maxDelayMs: 0,
      maxQueued: WRITES_QUEUED_MAX,
      flush: (calls) => this.#flush(calls),
    });
    this.#reads = createBatcher({
      name: "state read",
      maxItems: READ_BATCH,
      maxDelayMs: 0,
      maxQueued: READS_QUEUED_MAX,
      concurrency: READS_AT_ONCE,
      flush: (names) => init.reads.read(names),
    });
    this.#sights = createBatcher({
      name: "state sight",
      maxItems: SIGHT_BATCH,
      maxDelayMs: 0,
      maxQueued: READS_QUEUED_MAX,
      concurrency: READS_AT_ONCE,
      flush: (names) => init.reads.sight(names),
    });
    this.#scans = createBatcher({
      name: "state scan",
      maxItems: 1,
      maxDelayMs: 0,
      maxQueued: SCANS_QUEUED_MAX,
      concurrency: SCANS_AT_ONCE,
      flush: async ([scan]) => [await scan?.()],
    });
  }

  /** Calls that wait for their commit. */
  get queued(): number {
    return this.#writes.queued + this.#held.waiting;
  }

  /** Commits a call, together with those that came in the same moment.
   *
   * Errors: exhausted/QUEUE_FULL; unavailable/DATABASE_UNAVAILABLE, COMMIT_OUTCOME_UNKNOWN. */
  async write(call: WriteCall): Promise<CallResult> {
    const bytes = bytesOf(call);
    if (this.#queuedBytes + bytes > WRITES_QUEUED_BYTES_MAX) throw queueFull();
    this.#queuedBytes += bytes;
    try {
      const flushed = await this.#writes.add(call);
      const result = "later" in flushed ? await flushed.later : flushed;
      if (result instanceof Error) throw result;
      return result;
    } finally {
      this.#queuedBytes -= bytes;
    }
  }

  /** Reads a key together with those that were asked for in the same moment. What is remembered is answered once the bucket was seen to
   * be where memory is, so that every write is found that was answered before. */
  async read(name: KeyName): Promise<FoundKey> {
    const recalled = await this.#recall({ ...name, keys: [name.key] });
    if (recalled === undefined) return this.#reads.add(name);
    return { rules: recalled.rules, entry: recalled.entries[0] };
  }

  /** Reads keys of one moment; as read(). What nobody waits for any more at its turn is left out. */
  async readMany(name: KeysName, isGivenUp: () => boolean): Promise<FoundKeys> {
    const recalled = await this.#recall(name);
    return recalled ?? this.scan(() => this.#init.reads.readMany(name), isGivenUp);
  }

  /** Runs a longer read when it is its turn: few at once, so that connections are left for the rest.
   *
   * Errors: exhausted/QUEUE_FULL; cancelled/CANCELLED when nobody waits for it any more. */
  async scan<T>(read: () => Promise<T>, isGivenUp: () => boolean = never): Promise<T> {
    const turn = async (): Promise<T> => {
      if (isGivenUp()) throw toError(GIVEN_UP);
      return read();
    };
    return (await this.#scans.add(turn)) as T;
  }

  /** Commits what waits, and takes nothing more. */
  async close(): Promise<void> {
    await Promise.all([this.#writes.close(), this.#sights.close()]);
    await Promise.all([this.#reads.close(), this.#scans.close()]);
    await this.#held.close();
  }

  /** Undefined: they have to be read. */
  async #recall({ namespace, bucket, keys }: KeysName): Promise<FoundKeys | undefined> {
    const { memory } = this.#init;
    const name = `${namespace}/${bucket}`;
    if (!memory.holds(name, keys)) return undefined;
    const seen = await this.#sights.add({ namespace, bucket });
    const entries = seen && memory.recallAt(name, keys, seen);
    if (entries === undefined) return undefined;
    return { rules: seen, entries: entries.sort(byKey), unreadKeys: [] };
  }

  /** Commits what can be committed now. Calls of a bucket that is held go into its lane, and so do those that come behind them. */
  async #flush(calls: readonly WriteCall[]): Promise<Flushed[]> {
    const { writes } = this.#init;
    const answers: Flushed[] = [];
    for (const part of inParts(calls)) {
      const free = part.filter((call) => !this.#held.has(call));
      const committed = await this.#commit(free, (some) => writes.commitFree(some));
      const results = new Map(free.map((call, at) => [call, committed[at]]));
      for (const call of part) {
        const result = results.get(call) ?? HELD;
        answers.push(result === HELD ? { later: this.#held.add(call) } : result);
      }
    }
    return answers;
  }

  /** In the lane of a bucket, which its calls may wait for. */
  async #commitHeld(calls: readonly WriteCall[]): Promise<CommitResult[]> {
    const results: CommitResult[] = [];
    for (const part of inParts(calls)) {
      results.push(...(await this.#commit(part, (some) => this.#init.writes.commit(some))));
    }
    return results;
  }

  async #commit<R extends CommitResult | typeof HELD>(
    calls: readonly WriteCall[],
    commit: (calls: readonly WriteCall[]) => Promise<readonly R[]>,
  ): Promise<readonly R[]> {
    if (calls.length === 0) return [];
    const { events, clock } = this.#init;
    const fromMs = clock.nowMs();
    const results = await commit(calls);
    const failure = results.find((result) => result instanceof Error);
    if (failure !== undefined) events.stateCommitFailed(failure);
    const done = calls.filter((_, at) => results[at] !== HELD);
    const count = done.reduce((sum, { ops }) => sum + ops.length, 0);
    events.stateCommitted(done.length, count, clock.nowMs() - fromMs);
    return results;
  }
}

/** Keys are ASCII, so this is the order of their bytes. */
function byKey(one: Entry, other: Entry): number {
  return one.key < other.key ? -1 : 1;
}

function bytesOf({ ops }: WriteCall): number {
  let bytes = OP_BYTES;
  for (const op of ops) {
    bytes += OP_BYTES + ("data" in op ? op.data.byteLength : 0);
    if (op.kind === "resolve") bytes += op.value?.data.byteLength ?? 0;
  }
  return bytes;
}

/** A transaction takes so many writes and bytes, or one call. */
function inParts(calls: readonly WriteCall[]): WriteCall[][] {
  const parts: WriteCall[][] = [];
  let bytes = 0;
  let ops = 0;
  for (const call of calls) {
    bytes += bytesOf(call);
    ops += call.ops.length;
    const part = parts.at(-1);
    if (part !== undefined && bytes <= WRITE_BATCH_BYTES && ops <= WRITE_BATCH_OPS) {
      part.push(call);
    } else {
      parts.push([call]);
      bytes = bytesOf(call);
      ops = call.ops.length;
    }
  }
  return parts;
}

function queueFull(): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "QUEUE_FULL",
    message: "Too many bytes wait for their commit.",
    details: { retryAfterMs: FULL_RETRY_MS },
  });
}
