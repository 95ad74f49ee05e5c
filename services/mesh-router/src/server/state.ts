/** State: what agents share, from its stores to its service and its loops. */

import type { Pool } from "@nexus/postgres";
import { StateService } from "@nexus/proto/mesh";
import type { LeasePort } from "../domain/message/lease-gate.ts";
import { WatchRegister } from "../domain/state/bucket-watch.ts";
import { ChangeTails } from "../domain/state/change-tail.ts";
import { StateQueue } from "../domain/state/state-queue.ts";
import { sweepDropped, sweepKeys, sweepLogs } from "../domain/state/sweep.ts";
import { TaskFence } from "../domain/state/task-fence.ts";
import { createStateEvents, createStateGauges } from "../events/state-events.ts";
import { createStateHandlers } from "../handlers/state/index.ts";
import { createStatePoll } from "../loops/state-poll.ts";
import { createBucketStore } from "../store/state-bucket-store.ts";
import { createReadStore } from "../store/state-read-store.ts";
import { createSweepStore } from "../store/state-sweep-store.ts";
import { createWriteStore } from "../store/state-write-store.ts";
import type { Parts } from "./parts.ts";

/** How long a change of another replica may go unnoticed. */
const POLL_INTERVAL_MS = 20;
/** The contract promises a sign of life every 5 s. */
const ALIVE_MS = 4_000;
const SWEEP_INTERVAL_MS = 1_000;
const TRIM_INTERVAL_MS = 5_000;

/** Adds StateService and the loops behind it. */
export function addState({
  frame,
  config,
  clock,
  pool,
  leases,
}: Parts & { readonly pool: Pool; readonly leases: LeasePort }): void {
  const events = createStateEvents(frame.metrics, frame.logger);
  const wake = { poll: (): void => undefined };
  const tails = new ChangeTails(() => wake.poll());
  const reads = createReadStore(pool);
  const writes = createWriteStore({
    pool,
    rememberedMs: config.stateTombstonesKeptMs,
    onCommitted: (groups) => {
      for (const group of groups) tails.push(group);
    },
  });
  const queue = new StateQueue({ writes, reads, events, clock });
  frame.defer("state", () => queue.close());
  const register = new WatchRegister();
  createStateGauges(frame.metrics, {
    queued: () => queue.queued,
    watches: () => register.size,
    tailBytes: () => tails.bytes,
  });
  const buckets = createBucketStore(pool, {
    bucketsMax: config.stateBucketsMax,
    keysMax: config.stateKeysMax,
    bytesMax: config.stateBytesMax,
  });
  const onResync = (reason: string): void => events.stateResynced(reason);
  const fence = new TaskFence(leases, clock);
  frame.server.add(
    StateService,
    createStateHandlers({ buckets, reads, queue, tails, register, fence, events, onResync }),
  );
  const store = createSweepStore(pool, {
    keptMs: config.stateLogKeptMs,
    changesMax: config.stateLogChangesMax,
  });
  const deps = { store, queue, events };
  const nowMs = (): number => clock.nowMs();
  const poll = frame.loop({
    name: "state-poll",
    intervalMs: POLL_INTERVAL_MS,
    step: createStatePoll({ tails, reads, events, nowMs, aliveMs: ALIVE_MS }),
  });
  wake.poll = () => poll.trigger();
  frame.loop({
    name: "state-sweep",
    intervalMs: SWEEP_INTERVAL_MS,
    step: (signal) => sweepKeys(deps, signal),
  });
  frame.loop({
    name: "state-trim",
    intervalMs: Math.min(TRIM_INTERVAL_MS, config.stateLogKeptMs),
    step: async (signal) => {
      await sweepLogs(deps, signal);
      await sweepDropped(deps, signal);
    },
  });
}
