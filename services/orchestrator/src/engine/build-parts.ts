/** What an engine is made of, and the parts that its files share. */
import type { Pool } from "@nexus/postgres";
import type { Ids, Logger } from "@nexus/shared";
import { type BreakerPolicy, DEFAULT_BREAKER } from "../domain/breaker.ts";
import type { OutcomeCodec } from "../domain/outcome.ts";
import type { Dispatch, EngineEvents, PlanCodec } from "../domain/ports.ts";
import { SHARDS } from "../domain/shards.ts";
import { AffinityBook } from "./affinity-book.ts";
import { Backlog } from "./backlog.ts";
import { Fleet } from "./fleet.ts";
import { InputBook } from "./input-book.ts";
import { LeaseBook } from "./lease-book.ts";
import { Ledger } from "./ledger.ts";
import type { EngineLimits, EngineParts } from "./parts.ts";
import { PausedJobs } from "./paused-jobs.ts";
import { ReadyQueue } from "./ready-queue.ts";
import { TaskStreams } from "./task-streams.ts";
import { WatchHub } from "./watch-hub.ts";

/** What an engine is made of. */
export interface EngineOptions {
  readonly pool: Pool;
  /** Names this process among the replicas; `replicaId` is another one for each start. */
  readonly replica: {
    readonly replicaId: string;
    readonly name: string;
    readonly leaseMs: number;
  };
  readonly dispatch: Dispatch;
  readonly plans: PlanCodec;
  readonly outcomes: OutcomeCodec;
  readonly events: EngineEvents;
  readonly limits: EngineLimits;
  readonly bulkhead: number;
  readonly explorationShare: number;
  readonly breaker?: BreakerPolicy;
  readonly logger: Logger;
  readonly ids: Ids;
  readonly random?: () => number;
  readonly nowMs?: () => number;
  /** Called when this process begins to take part, and at each return: it takes shards by looking at the ring. */
  readonly onJoined: () => void;
}

/** Builds the parts that share state, in the order in which they need each other. */
export function buildParts(options: EngineOptions): EngineParts {
  const random = options.random ?? Math.random;
  const { pool, replica, logger, bulkhead, explorationShare, limits } = options;
  const nowMs = options.nowMs ?? (() => performance.now());
  const queue = new ReadyQueue();
  const paused = new PausedJobs();
  const ledger = new Ledger({ pool, replica, logger });
  const share = () => ledger.shards.size / SHARDS;
  return {
    pool,
    logger,
    ledger,
    queue,
    backlog: new Backlog({ queue, paused, limits, share, random, nowMs }),
    fleet: new Fleet({ bulkhead, random, breaker: options.breaker ?? DEFAULT_BREAKER }),
    book: new LeaseBook(),
    inputs: new InputBook(),
    affinity: new AffinityBook(),
    hub: new WatchHub(),
    streams: new TaskStreams({ pool, logger, events: options.events }),
    dispatch: options.dispatch,
    plans: options.plans,
    events: options.events,
    limits,
    routing: { bulkhead, explorationShare, random },
    ids: options.ids,
    tallies: { generation: 0 },
    paused,
    nowMs,
  };
}
