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
}

/** Pages of the log that one step reads of one bucket; a bucket that is further behind goes on with the next. */
const PAGES_MAX = 8;

/** Brings the changes that other replicas committed to those who watch here. */
export function createStatePoll({ tails, reads, events, nowMs, aliveMs }: StatePollInit) {
  let aliveAtMs = nowMs();
  return async (signal: AbortSignal): Promise<void> => {
    if (nowMs() - aliveAtMs >= aliveMs) {
      aliveAtMs = nowMs();
      tails.wakeEverybody();
    }
    if (tails.size === 0) return;
    try {
      const { moved, gone } = await reads.moved(tails.positions());
      for (const bucketId of gone) tails.end(bucketId);
      for (const bucketId of moved) {
        if (!signal.aborted) await readOn(tails, reads, bucketId);
      }
    } catch (error) {
      events.statePollFailed(error);
      throw error;
    }
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
