/** What the parts of the engine share, in one list. */
import type { Pool } from "@nexus/postgres";
import type { Ids, Logger } from "@nexus/shared";
import type { Dispatch, EngineEvents, PlanCodec } from "../domain/ports.ts";
import type { RoutingPolicy } from "../domain/routing.ts";
import type { AffinityBook } from "./affinity-book.ts";
import type { Backlog, BacklogLimits } from "./backlog.ts";
import type { Fleet } from "./fleet.ts";
import type { InputBook } from "./input-book.ts";
import type { LeaseBook } from "./lease-book.ts";
import type { Ledger } from "./ledger.ts";
import type { PausedJobs } from "./paused-jobs.ts";
import type { ReadyQueue } from "./ready-queue.ts";
import type { TaskStreams } from "./task-streams.ts";
import type { WatchHub } from "./watch-hub.ts";

/** The limits of the engine; see config.ts for what each means. */
export interface EngineLimits extends BacklogLimits {
  readonly flushItemsMax: number;
  readonly flushDelayMs: number;
  readonly updatesQueuedMax: number;
  readonly submitsQueuedMax: number;
  readonly uncostedAttemptsMax: number;
  readonly lostAfterMs: number;
  readonly reapBatchMax: number;
}

/** State that changes with every load. */
export interface Tallies {
  /** Counts loads: what was begun before the last one must not be applied after it. */
  generation: number;
}

/** Shared by all parts; each part changes only what its own file says it owns. */
export interface EngineParts {
  readonly pool: Pool;
  readonly ledger: Ledger;
  readonly queue: ReadyQueue;
  readonly backlog: Backlog;
  readonly fleet: Fleet;
  readonly book: LeaseBook;
  readonly inputs: InputBook;
  readonly affinity: AffinityBook;
  readonly hub: WatchHub;
  readonly streams: TaskStreams;
  readonly dispatch: Dispatch;
  readonly plans: PlanCodec;
  readonly events: EngineEvents;
  readonly limits: EngineLimits;
  readonly routing: RoutingPolicy;
  readonly logger: Logger;
  readonly ids: Ids;
  readonly tallies: Tallies;
  /** Open jobs that are paused; the pauser's. */
  readonly paused: PausedJobs;
  /** Monotonic milliseconds, for delays inside this process. */
  readonly nowMs: () => number;
}
