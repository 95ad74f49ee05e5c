import type { ChangeTails } from "../domain/state/change-tail.ts";
import type { ReadStore, StateEvents } from "../domain/state/state-ports.ts";

/** What the poll works with. */
export interface StatePollInit {
  readonly tails: ChangeTails;
  readonly reads: ReadStore;
  readonly events: StateEvents;
  readonly nowMs: () => number;
  /** Watchers are woken this often, so that none is silent for longer. */
  readonly aliveMs: number;
  /** True while other replicas tell of their commits: then nobody has to be asked all the time. */
  readonly isTold: () => boolean;
  /** How often they are asked all the same. */
  readonly askMs: number;
}

/** What starts the poll's next step, and makes it ask. */
export interface StatePoll {
  step(signal: AbortSignal): Promise<void>;
  /** There may be changes of other replicas: the next step asks. */
  hear(): void;
  /** Somebody watches, and nobody tells of changes: they have to be asked for all the time. */
  readonly isAsking: boolean;
}

/** Pages of the log that one step reads of one bucket; a bucket that is further behind goes on with the next. */
const PAGES_MAX = 8;

/** Brings the changes that other replicas committed to those who watch here. */
export function createStatePoll(init: StatePollInit): StatePoll {
  const { tails, reads, events, nowMs, aliveMs, isTold, askMs } = init;
  let aliveAtMs = nowMs();
  let askedAtMs = Number.NEGATIVE_INFINITY;
  let heard = true;
  const isDue = (): boolean => heard || !isTold() || nowMs() - askedAtMs >= askMs;
  const ask = async (signal: AbortSignal): Promise<void> => {
    askedAtMs = nowMs();
    heard = false;
    const { moved, gone } = await reads.moved(tails.positions());
    for (const bucketId of gone) tails.end(bucketId);
    for (const bucketId of moved) {
      if (!signal.aborted) await readOn(tails, reads, bucketId);
    }
  };
  return {
    get isAsking() {
      return tails.size > 0 && !isTold();
    },
    step: async (signal) => {
      if (nowMs() - aliveAtMs >= aliveMs) {
        aliveAtMs = nowMs();
        tails.wakeEverybody();
      }
      if (tails.size === 0 || !isDue()) return;
      try {
        await ask(signal);
      } catch (error) {
        heard = true;
        events.statePollFailed(error);
        throw error;
      }
    },
    hear: () => {
      heard = true;
    },
  };
}

async function readOn(tails: ChangeTails, reads: ReadStore, bucketId: bigint): Promise<void> {
  for (let pages = 0; pages < PAGES_MAX; pages += 1) {
    const after = tails.positions().get(bucketId);
    if (after === undefined) return;
    const { bucket, groups } = await reads.log(bucketId, after);
    if (bucket === undefined) tails.end(bucketId);
    // Its watchers read the log, and are told there what is missing.
    else if (after < bucket.trimmedRevision) tails.skipTo(bucketId, bucket.revision);
    for (const group of groups) tails.push(group);
    if (groups.length === 0) return;
  }
}
