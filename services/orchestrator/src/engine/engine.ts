/** A replica's mind: builds its parts, wires them, and follows what it owns. */
import type { Queryable } from "@nexus/postgres";
import { NexusError, withDeadline } from "@nexus/shared";
import type { JobSubmission, JobView } from "../domain/job.ts";
import { REJECTIONS_MAX } from "../domain/limits.ts";
import type { LiveTask } from "../domain/live-task.ts";
import { chooseAgent } from "../domain/routing.ts";
import type { RoutingDecision } from "../domain/routing-decision.ts";
import type { Settlement } from "../domain/settlement.ts";
import { notOwner } from "../store/writer-session.ts";
import type { AgentEntry, AgentProfile, LiveLease } from "./agent-entry.ts";
import { Assigner } from "./assigner.ts";
import { buildParts, type EngineOptions } from "./build-parts.ts";
import { Canceller, type CancelOrder } from "./canceller.ts";
import { Claimer } from "./claimer.ts";
import { ClosingReaper } from "./closing-reaper.ts";
import { Demands } from "./demands.ts";
import type { FreedTask } from "./freed-tasks.ts";
import { JobRemover } from "./job-remover.ts";
import { LeaseChecker } from "./lease-checker.ts";
import { createLeaseEnder } from "./lease-ender.ts";
import { LeaseWriter } from "./lease-writer.ts";
import type { Ownership } from "./ledger.ts";
import { OutcomeLog } from "./outcome-log.ts";
import type { EngineParts } from "./parts.ts";
import { Pauser } from "./pauser.ts";
import { Planner } from "./planner.ts";
import { enqueue } from "./queue-keeper.ts";
import { needOf } from "./ready-queue.ts";
import { Reaper } from "./reaper.ts";
import { type RedriveOrder, type RedriveResult, Redriver } from "./redriver.ts";
import { Replayer } from "./replayer.ts";
import { RingKeeper } from "./ring-keeper.ts";
import { Scheduler } from "./scheduler.ts";
import { SessionKeeper } from "./session-keeper.ts";
import { Settler } from "./settler.ts";
import { inShards, ShardMemory } from "./shard-memory.ts";
import { SilenceReaper } from "./silence-reaper.ts";
import { Submitter } from "./submitter.ts";
import type { TaskStreams } from "./task-streams.ts";
import { UpdateIntake } from "./update-intake.ts";
import { WaitingAudit } from "./waiting-audit.ts";
import { WaitingReaper } from "./waiting-reaper.ts";
import type { WatchHub } from "./watch-hub.ts";

/** How long stop() waits for what is queued to be committed. */
const STOP_FLUSH_MAX_MS = 3_000;

/** Its owner tells the outcomes of replicas that are gone; any shard would do. */
const ADOPTING_SHARD = 0;

/** Owns the wiring of the parts and their common life. */
export class Engine {
  readonly hub: WatchHub;
  readonly streams: TaskStreams;
  readonly sessions: SessionKeeper;
  readonly updates: UpdateIntake;
  readonly leases: LeaseChecker;
  readonly reaper: Reaper;
  readonly waitingReaper: WaitingReaper;
  readonly waitingAudit: WaitingAudit;
  readonly pauser: Pauser;
  readonly replayer: Replayer;
  readonly silenceReaper: SilenceReaper;
  readonly closingReaper: ClosingReaper;
  readonly jobRemover: JobRemover;
  readonly ring: RingKeeper;
  readonly demands: Demands;
  readonly #parts: EngineParts;
  readonly #options: EngineOptions;
  readonly #scheduler: Scheduler;
  readonly #writer: LeaseWriter;
  readonly #claimer: Claimer;
  readonly #assigner: Assigner;
  readonly #settler: Settler;
  readonly #submitter: Submitter;
  readonly #canceller: Canceller;
  readonly #redriver: Redriver;
  readonly #memory: ShardMemory;
  #outcomesVersion = 0;
  /** It has taken shards since its start. */
  #hasTaken = false;
  /** Leases that the last sweep found unsent. */
  #unsent: ReadonlySet<LiveLease> = new Set();

  constructor(options: EngineOptions) {
    this.#options = options;
    const parts = buildParts(options);
    this.#parts = parts;
    this.hub = parts.hub;
    this.streams = parts.streams;
    const onReleased = (agent: AgentEntry) => this.#scheduler.wakeAgent(agent);
    const onReady = (tasks: readonly FreedTask[]) => enqueue(parts, this.#scheduler, tasks);
    this.#scheduler = new Scheduler({
      parts,
      claim: (claim, agent, wait) => this.#claimer.claim(claim, agent, wait),
      claimsInFlight: () => this.#claimer.inFlight,
      onTurn: () => this.demands.look(),
    });
    this.demands = new Demands({ parts, replicas: () => this.ring.replicas });
    this.#memory = new ShardMemory(parts, this.#scheduler);
    const outcomes = new OutcomeLog(options.replica.replicaId, options.outcomes);
    const claimer = () => this.#claimer;
    const settler = () => this.#settler;
    const writer = new LeaseWriter({ parts, outcomes, claimer, settler });
    this.#writer = writer;
    this.#claimer = new Claimer({
      parts,
      writer,
      onReleased,
      onLeased: (leases) => this.#assign(leases),
      onCommitted: () => this.#scheduler.claimsCommitted(),
      onReady,
    });
    const onEnded = (live: LiveLease, settlement: Settlement | undefined) =>
      this.#onEnded(live, settlement);
    this.#settler = new Settler({ parts, writer, onEnded, onReleased, onReady });
    const end = createLeaseEnder(this.#settler, options.logger);
    this.#assigner = new Assigner({ parts, end });
    this.#submitter = new Submitter({
      parts,
      onReady,
      scheduler: this.#scheduler,
      claimer: this.#claimer,
    });
    this.#canceller = new Canceller({ parts, onReleased });
    this.pauser = new Pauser({ parts, onReady });
    this.replayer = new Replayer({ parts, onReady });
    this.#redriver = new Redriver({ parts, onReady });
    this.leases = new LeaseChecker(parts, () => this.ring.isCutOff);
    this.reaper = new Reaper(parts, this.#settler);
    this.waitingReaper = new WaitingReaper(parts, this.#settler);
    this.waitingAudit = new WaitingAudit({
      ...{ parts, claimer: this.#claimer, settler: this.#settler },
    });
    this.silenceReaper = new SilenceReaper(parts, this.#settler);
    this.closingReaper = new ClosingReaper(parts, this.#settler);
    this.jobRemover = new JobRemover(parts);
    this.ring = new RingKeeper({
      ...options.replica,
      pool: options.pool,
      ledger: parts.ledger,
      untilWritten: (shards) => this.#submitter.untilWritten(shards),
      nowMs: parts.nowMs,
      logger: options.logger,
    });
    const planner = new Planner(parts, this.#settler);
    this.updates = new UpdateIntake({ parts, settler: this.#settler, planner, onReleased });
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

  /** Says whether the outcomes that dead replicas left are this one's to tell: the owner of one shard does it. */
  get adoptsOutcomes(): boolean {
    const { ledger } = this.#parts;
    return ledger.ownership === "owner" && ledger.shards.has(ADOPTING_SHARD);
  }

  /** This start of this process, among the replicas. */
  get replicaId(): string {
    return this.#options.replica.replicaId;
  }

  /** Says whether this replica owns a job, or a task by its id. */
  owns(id: string): boolean {
    return this.#parts.ledger.owns(id);
  }

  /** Says whether this replica owns any jobs, and so can take new ones. */
  get ownsAny(): boolean {
    return this.#parts.ledger.shards.size > 0;
  }

  /** Numbers for gauges. */
  stats() {
    const { queue, backlog, paused, book, fleet, hub, ledger } = this.#parts;
    return {
      shards: ledger.shards.size,
      replicas: this.ring.replicas,
      ready: queue.size - queue.delayedSize,
      delayed: queue.delayedSize,
      blocked: backlog.blocked,
      withheld: paused.tasks,
      leases: book.size,
      agents: fleet.size,
      watchers: hub.size + this.streams.size,
      claims: this.#claimer.inFlight,
    };
  }

  /** Begins to take part; other replicas hand calls on at this address. */
  start(address: string): void {
    const hooks = {
      load: (client: Queryable, shards: readonly number[]) => this.#memory.load(client, shards),
      onReset: () => this.#memory.reset(),
      onTaken: (shards: readonly number[], all: boolean) => this.#onTaken(shards, all),
      onGiven: (shards: readonly number[], blocked: ReadonlyMap<string, number>) =>
        this.#onGiven(shards, blocked),
      onLost: () => this.#scheduler.pause(),
    };
    this.#parts.ledger.start(hooks, address);
  }

  /** Commits what is queued and frees all shards. */
  async stop(): Promise<void> {
    this.#scheduler.pause();
    this.demands.stop();
    const { streams } = this;
    const flushes = [
      this.#submitter.close(),
      this.#settler.close().then(() => this.#writer.close()),
      streams.close(),
    ];
    // While the database is away, what is queued cannot be committed; agents and callers say it again elsewhere.
    await withDeadline(Promise.all(flushes), STOP_FLUSH_MAX_MS).catch(() => undefined);
    await this.#parts.ledger.stop();
    const draining = new NexusError({
      kind: "unavailable",
      reason: "SERVER_DRAINING",
      message: "The orchestrator is shutting down; connect again.",
    });
    this.hub.end(draining);
    this.streams.end(draining);
  }

  /** Refuses a call while this replica takes no part, or cannot. Errors: unavailable/NOT_OWNER. */
  assertServing(): void {
    const { ownership } = this;
    if (ownership === "starting" || ownership === "stopped") {
      throw notOwner(`This replica is ${ownership}; call another one.`);
    }
    if (this.ring.isCutOff) {
      throw notOwner("This replica does not reach its database; call another one.");
    }
  }

  submit(submission: JobSubmission): Promise<JobView> {
    return this.#submitter.submit(submission);
  }

  cancel(order: CancelOrder): ReturnType<Canceller["cancel"]> {
    return this.#canceller.cancel(order);
  }

  redrive(order: RedriveOrder): Promise<RedriveResult> {
    return this.#redriver.redrive(order);
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

  liveCapabilities(namespace: string): readonly string[] {
    return this.#parts.fleet.liveCapabilities(namespace);
  }

  /** How the choice for a waiting task would stand now; nothing is changed. */
  explainNow(
    task: Pick<LiveTask, "taskId" | "namespace" | "spec" | "avoidAgentId">,
  ): RoutingDecision {
    const { fleet, routing, affinity, queue } = this.#parts;
    const behindAll = { priority: Number.NEGATIVE_INFINITY, readyAtMs: Number.POSITIVE_INFINITY };
    const { priority, readyAtMs } = queue.find(task.taskId) ?? behindAll;
    const live = { ...task, priority, readyAtMs, preferAgentId: "" } as LiveTask;
    const need = needOf(live, affinity.agentOf(task));
    const { eligible, rejections } = fleet.findAnywhere(task.namespace, need, this.#parts.nowMs());
    const room = REJECTIONS_MAX - rejections.length;
    const unskilled = fleet.findUnskilled(task.namespace, need.capability, room);
    const policy = { ...routing, explorationShare: 0 };
    return chooseAgent(eligible, [...rejections, ...unskilled], need, policy).decision;
  }

  /** The safety net behind the events: looks at every lane, and sends what never got out. */
  async sweep(): Promise<void> {
    if (this.ownership !== "owner") return;
    this.#scheduler.wakeAll();
    this.demands.review();
    this.demands.look();
    const before = this.#unsent;
    const unsent = [...this.#parts.book.values()].filter((live) => !live.sent && !live.accepted);
    this.#unsent = new Set(unsent);
    const reachable = unsent.filter(
      ({ agent }) => agent.connection !== "NONE" && !agent.unreachable,
    );
    // What was claimed a moment ago is on its way by itself.
    await this.#assigner.assign(reachable.filter((live) => before.has(live)));
  }

  #onTaken(shards: readonly number[], all: boolean): void {
    this.#outcomesVersion += 1;
    this.sessions.onLoaded(all);
    if (all) this.#options.onJoined();
    this.hub.announceGap(inShards(shards));
    this.streams.announceGap(inShards(shards));
    this.#scheduler.resume();
    if (all) this.updates.replay();
    // What was another replica's its agents speak to until the assignment comes from here. A restart finds its own again.
    const others = !all && (this.#hasTaken || this.ring.replicas > 1);
    this.#hasTaken ||= !all;
    if (others) this.#assign(this.#memory.leasesIn(shards));
    else this.#resend(this.#memory.leasesIn(shards));
  }

  #onGiven(shards: readonly number[], blocked: ReadonlyMap<string, number>): void {
    for (const agent of this.#memory.forget(shards, blocked)) this.#scheduler.wakeAgent(agent);
    const moved = notOwner("Another replica owns the job now; go on there from the last event.");
    this.hub.end(moved, inShards(shards));
    this.streams.end(moved, inShards(shards));
  }

  #onEnded(live: LiveLease, settlement: Settlement | undefined): void {
    const { agent, lease } = live;
    const { task } = lease;
    const nowMs = this.#parts.nowMs();
    if (settlement === undefined) {
      agent.forgetProbe(task, nowMs);
    } else {
      if (settlement.reported) this.#outcomesVersion += 1;
      const breaker = agent.breaker(task.spec.capability);
      breaker.onOutcome(task.taskId, settlement.verdict, nowMs);
    }
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
