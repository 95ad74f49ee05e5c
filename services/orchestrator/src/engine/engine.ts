/** The owner's mind: builds its parts, wires them, and brings them back after a loss. */
import type { Pool, Queryable } from "@nexus/postgres";
import { type Ids, type Logger, NexusError, withDeadline } from "@nexus/shared";
import { type BreakerPolicy, DEFAULT_BREAKER } from "../domain/breaker.ts";
import type { JobSubmission, JobView } from "../domain/job.ts";
import { REJECTIONS_MAX } from "../domain/limits.ts";
import type { LiveTask } from "../domain/live-task.ts";
import type { Dispatch, EngineEvents, PlanCodec } from "../domain/ports.ts";
import { chooseAgent } from "../domain/routing.ts";
import type { RoutingDecision } from "../domain/routing-decision.ts";
import type { Ending, Settlement } from "../domain/settlement.ts";
import { loadWork } from "../store/load-store.ts";
import type { AgentEntry, AgentProfile, LiveLease } from "./agent-entry.ts";
import { Assigner } from "./assigner.ts";
import { Canceller, type CancelOrder } from "./canceller.ts";
import { Claimer } from "./claimer.ts";
import { Fleet } from "./fleet.ts";
import { LeaseBook } from "./lease-book.ts";
import { Ledger, type Ownership } from "./ledger.ts";
import type { EngineLimits, EngineParts } from "./parts.ts";
import { Planner } from "./planner.ts";
import { enqueue } from "./queue-keeper.ts";
import { needOf, ReadyQueue } from "./ready-queue.ts";
import { Reaper } from "./reaper.ts";
import { Scheduler } from "./scheduler.ts";
import { SessionKeeper } from "./session-keeper.ts";
import { Settler } from "./settler.ts";
import { Submitter } from "./submitter.ts";
import { UpdateIntake } from "./update-intake.ts";
import { WatchHub } from "./watch-hub.ts";

/** How long stop() waits for what is queued to be committed. */
const STOP_FLUSH_MAX_MS = 3_000;

/** What an engine is made of. */
export interface EngineOptions {
  readonly pool: Pool;
  /** Names this process in shard_owners. */
  readonly owner: string;
  readonly dispatch: Dispatch;
  readonly plans: PlanCodec;
  readonly events: EngineEvents;
  readonly limits: EngineLimits;
  readonly bulkhead: number;
  readonly explorationShare: number;
  readonly breaker?: BreakerPolicy;
  readonly logger: Logger;
  readonly ids: Ids;
  readonly random?: () => number;
  readonly nowMs?: () => number;
  /** Called when this process becomes the owner, and when it stops being one. */
  readonly onOwnership: (owner: boolean) => void;
}

/** Owns the wiring of the parts and their common life. */
export class Engine {
  readonly hub: WatchHub;
  readonly sessions: SessionKeeper;
  readonly updates: UpdateIntake;
  readonly reaper: Reaper;
  readonly #parts: EngineParts;
  readonly #options: EngineOptions;
  readonly #scheduler: Scheduler;
  readonly #claimer: Claimer;
  readonly #assigner: Assigner;
  readonly #settler: Settler;
  readonly #submitter: Submitter;
  readonly #canceller: Canceller;
  #outcomesVersion = 0;

  constructor(options: EngineOptions) {
    this.#options = options;
    const parts = buildParts(options);
    this.#parts = parts;
    this.hub = parts.hub;
    const onReleased = (agent: AgentEntry) => this.#scheduler.wakeAgent(agent);
    const onReady = (tasks: readonly { task: LiveTask; delayMs: number }[]) =>
      enqueue(parts, this.#scheduler, tasks);
    const end = (live: LiveLease, ending: Ending) => this.#end(live, ending);
    this.#scheduler = new Scheduler({
      parts,
      claim: (claim, agent, readySinceMs) => this.#claimer.claim(claim, agent, readySinceMs),
      claimsInFlight: () => this.#claimer.inFlight,
    });
    this.#assigner = new Assigner({ parts, end });
    this.#claimer = new Claimer({
      parts,
      onReleased,
      onLeased: (leases) => this.#assign(leases),
      onCommitted: () => this.#scheduler.claimsCommitted(),
      requeue: ({ task }, delayMs) => onReady([{ task, delayMs }]),
    });
    const onEnded = (live: LiveLease, settlement: Settlement | undefined) =>
      this.#onEnded(live, settlement);
    this.#settler = new Settler({ parts, onEnded, onReady });
    this.#submitter = new Submitter({ parts, onReady });
    this.#canceller = new Canceller({ parts, onReleased });
    this.reaper = new Reaper(parts, this.#settler);
    const planner = new Planner(parts, this.#settler);
    this.updates = new UpdateIntake({ parts, settler: this.#settler, planner });
    this.sessions = new SessionKeeper({
      parts,
      end,
      onChanged: onReleased,
      resend: (leases) => this.#resend(leases),
    });
  }

  /** What this process is, for /ready and for callers. */
  get ownership(): Ownership {
    return this.#parts.ledger.ownership;
  }

  /** Grows whenever outcomes for registry and insight may have been committed. */
  get outcomesVersion(): number {
    return this.#outcomesVersion;
  }

  /** Numbers for gauges. */
  stats() {
    const { queue, book, fleet, tallies, hub } = this.#parts;
    return {
      ready: queue.size - queue.delayedSize,
      delayed: queue.delayedSize,
      blocked: tallies.blocked,
      leases: book.size,
      agents: fleet.size,
      watchers: hub.size,
      claims: this.#claimer.inFlight,
    };
  }

  /** Starts to compete for ownership. */
  start(): void {
    this.#parts.ledger.start({
      load: (client) => this.#load(client),
      onLost: () => this.#onLost(),
      onStandby: () => this.#onStandby(),
    });
  }

  /** Commits what is queued and gives ownership back. */
  async stop(): Promise<void> {
    this.#scheduler.pause();
    const flushes = [this.#submitter.close(), this.#claimer.close(), this.#settler.close()];
    // While the database is away, what is queued cannot be committed; agents and callers say it again elsewhere.
    await withDeadline(Promise.all(flushes), STOP_FLUSH_MAX_MS).catch(() => undefined);
    await this.#parts.ledger.stop();
    this.hub.endAll(
      new NexusError({
        kind: "unavailable",
        reason: "SERVER_DRAINING",
        message: "The orchestrator is shutting down; connect again.",
      }),
    );
  }

  /** Refuses a call that only the owner can serve. Errors: unavailable/NOT_OWNER. */
  assertServing(): void {
    const { ownership } = this;
    if (ownership === "owner" || ownership === "recovering") return;
    throw new NexusError({
      kind: "unavailable",
      reason: "NOT_OWNER",
      message: `This replica is ${ownership}; another one may own the jobs.`,
    });
  }

  submit(submission: JobSubmission): Promise<JobView> {
    return this.#submitter.submit(submission);
  }

  cancel(order: CancelOrder): Promise<JobView> {
    return this.#canceller.cancel(order);
  }

  /** The registry says what an agent can do. */
  onAgent(profile: AgentProfile): void {
    this.#scheduler.wakeAgent(this.#parts.fleet.setProfile(profile));
  }

  /** The registry no longer knows an agent. */
  onAgentRemoved(namespace: string, agentId: string): void {
    this.#parts.fleet.removeProfile(namespace, agentId);
  }

  /** Agents that the registry told of, to find those that a new snapshot left out. */
  profiledAgents(): { readonly namespace: string; readonly agentId: string }[] {
    const profiled = [...this.#parts.fleet.values()].filter((agent) => agent.profile !== undefined);
    return profiled.map(({ namespace, agentId }) => ({ namespace, agentId }));
  }

  /** What the agent last said of a running task, 0 to 1; undefined when it does not run. */
  progressOf(taskId: string): number | undefined {
    return this.#parts.book.get(taskId)?.progress;
  }

  liveCapabilities(namespace: string): string[] {
    return this.#parts.fleet.liveCapabilities(namespace);
  }

  /** How the choice for a waiting task would stand now; nothing is changed. */
  explainNow(task: Pick<LiveTask, "namespace" | "spec" | "avoidAgentId">): RoutingDecision {
    const { fleet, routing } = this.#parts;
    const need = needOf({ ...task, preferAgentId: "" } as LiveTask);
    const { eligible, rejections } = fleet.findCandidates(
      task.namespace,
      need,
      this.#parts.nowMs(),
    );
    const room = REJECTIONS_MAX - rejections.length;
    const unskilled = fleet.findUnskilled(task.namespace, need.capability, room);
    const policy = { ...routing, explorationShare: 0 };
    return chooseAgent(eligible, [...rejections, ...unskilled], need, policy).decision;
  }

  /** The safety net behind the events: looks at every lane, and sends what never got out. */
  async sweep(): Promise<void> {
    if (this.ownership !== "owner") return;
    this.#scheduler.wakeAll();
    const unsent = [...this.#parts.book.values()].filter((live) => !live.sent && !live.accepted);
    const reachable = unsent.filter((live) => live.agent.connection !== "NONE");
    await this.#assigner.assign(reachable.filter((live) => !live.agent.unreachable));
  }

  async #load(client: Queryable): Promise<void> {
    const { queue, book, fleet, tallies, ledger } = this.#parts;
    tallies.generation += 1;
    this.#outcomesVersion += 1;
    const work = await loadWork(client);
    queue.clear();
    book.clear();
    for (const agent of fleet.values()) {
      agent.claims = 0;
      agent.forgetProbes(this.#parts.nowMs());
    }
    tallies.blocked = work.blocked;
    enqueue(
      this.#parts,
      this.#scheduler,
      work.ready.map((task) => ({ task, delayMs: task.readyAtMs - work.nowMs })),
    );
    for (const lease of work.leases) {
      const { agentId, task } = lease;
      book.add({
        lease,
        agent: fleet.open(task.namespace, agentId),
        accepted: lease.running,
        acceptedAtMs: undefined,
        progress: 0,
        sent: false,
        readySinceMs: undefined,
      });
    }
    this.#parts.events.loaded(work.ready.length, work.leases.length);
    void ledger.untilOwner().then(
      () => this.#onOwner(),
      () => undefined,
    );
  }

  #onOwner(): void {
    this.sessions.onLoaded();
    this.#options.onOwnership(true);
    this.hub.announceGap();
    this.#scheduler.resume();
    this.updates.replay();
    this.#resend(this.#parts.book.values());
  }

  #onLost(): void {
    this.#scheduler.pause();
  }

  #onStandby(): void {
    this.#scheduler.pause();
    this.updates.forget();
    this.#parts.queue.clear();
    this.#parts.book.clear();
    this.#options.onOwnership(false);
    this.hub.endAll(
      new NexusError({
        kind: "unavailable",
        reason: "NOT_OWNER",
        message: "Another replica owns the jobs now; watch there with after_sequence.",
      }),
    );
  }

  #onEnded(live: LiveLease, settlement: Settlement | undefined): void {
    const { agent, lease } = live;
    const { capability } = lease.task.spec;
    const nowMs = this.#parts.nowMs();
    if (settlement === undefined) {
      agent.forgetProbe(capability, nowMs);
    } else {
      if (settlement.reported) this.#outcomesVersion += 1;
      agent.breaker(capability).onOutcome(settlement.verdict, nowMs);
      this.#parts.events.settled(settlement.outcome, settlement.event);
    }
    this.#scheduler.wakeAgent(agent);
  }

  #end(live: LiveLease, ending: Ending): void {
    const { task, fence } = live.lease;
    this.#settler
      .end({ taskId: task.taskId, fence, by: undefined, ending })
      .catch((error: unknown) => {
        this.#options.logger.warn(
          { err: error, task_id: task.taskId },
          "a lease could not be ended; its deadline will",
        );
      });
  }

  #assign(leases: readonly LiveLease[]): void {
    this.#assigner.assign(leases).catch((error: unknown) => this.#onUnsent(error));
  }

  #resend(leases: Iterable<LiveLease>): void {
    this.#assigner.resend(leases).catch((error: unknown) => this.#onUnsent(error));
  }

  #onUnsent(error: unknown): void {
    this.#options.logger.warn(
      { err: error },
      "assignments could not be sent; the sweep sends them",
    );
  }
}

function buildParts(options: EngineOptions): EngineParts {
  const random = options.random ?? Math.random;
  const { pool, owner, logger, bulkhead, explorationShare } = options;
  return {
    pool,
    logger,
    ledger: new Ledger({ pool, owner, logger }),
    queue: new ReadyQueue(),
    fleet: new Fleet({ bulkhead, random, breaker: options.breaker ?? DEFAULT_BREAKER }),
    book: new LeaseBook(),
    hub: new WatchHub(),
    dispatch: options.dispatch,
    plans: options.plans,
    events: options.events,
    limits: options.limits,
    routing: { bulkhead, explorationShare, random },
    ids: options.ids,
    tallies: { blocked: 0, generation: 0 },
    nowMs: options.nowMs ?? (() => performance.now()),
  };
}
