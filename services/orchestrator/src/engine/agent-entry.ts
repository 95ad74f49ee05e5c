/** One agent as the owner sees it: what the registry says of it, its session, and what it has in hand. */
import { Breaker, type BreakerPolicy } from "../domain/breaker.ts";
import type { Lease, LiveTask } from "../domain/live-task.ts";
import type { Connection, RoutableAgent, Skill } from "../domain/routing.ts";
import { slotCostOf } from "../domain/task.ts";

/** What the registry says of an agent. */
export interface AgentProfile {
  readonly namespace: string;
  readonly agentId: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly region: string;
  readonly skills: ReadonlyMap<string, Skill>;
}

/** A live session of an agent. */
export interface AgentSession {
  readonly epoch: bigint;
  readonly state: Exclude<Connection, "NONE">;
  readonly slots: number;
  /** The dispatch stream on which it was last reported. */
  readonly router: string;
}

/** A lease and what was heard of it. */
export interface LiveLease {
  readonly lease: Lease;
  readonly agent: AgentEntry;
  /** The agent said that it began. */
  accepted: boolean;
  /** When, monotonic milliseconds; undefined when that is stored already. */
  acceptedAtMs: number | undefined;
  /** When the agent last said something of it, monotonic milliseconds. No row is written for it: after a restart
   * silence is measured anew. */
  heardAtMs: number;
  /** When start_to_close ends it at the latest, monotonic milliseconds, early rather than late. The reaper goes by the
   * stored deadline; this is for answers that are given without asking the database. */
  readonly deadlineAtMs: number;
  /** What the agent last said, 0 to 1. */
  progress: number;
  /** The agent completed the task: its slots are free, and the lease lives on until that is stored. */
  done: boolean;
  /** The assignment was handed to the stream of the session's router. */
  sent: boolean;
  /** Since when the task could have gone, monotonic milliseconds; undefined for a lease from before a restart. */
  readonly readySinceMs: number | undefined;
}

/** Whether an agent is there, and whether it could take anything. */
export type Standing = "AWAY" | "FULL" | "OPEN";

const NO_LABELS: Readonly<Record<string, string>> = Object.freeze({});

/** Names an agent over all namespaces. Neither part can hold a NUL. */
export function agentKey(namespace: string, agentId: string): string {
  return `${namespace}\u0000${agentId}`;
}

/** Owns the view of one agent. */
export class AgentEntry implements RoutableAgent {
  readonly namespace: string;
  readonly agentId: string;
  readonly key: string;
  readonly #leases = new Map<string, LiveLease>();
  readonly #breakerPolicy: BreakerPolicy;
  readonly #breakers = new Map<string, Breaker>();
  profile: AgentProfile | undefined;
  /** The lanes of what it can do; set by the fleet, with the profile. */
  lanes: readonly string[] = [];
  /** As which it is in the fleet's indexes; set by the fleet. */
  standing: Standing = "AWAY";
  session: AgentSession | undefined;
  /** The stream that reported the session is broken. */
  unreachable = false;
  /** Slots of choices on their way to becoming leases. */
  claims = 0;
  #leasedSlots = 0;
  #doneSlots = 0;
  /** The task for which its slots are kept; set by the fleet. */
  keptFor: LiveTask | undefined;
  lastAssigned = 0;
  /** Takes nothing before this time, after it refused an assignment. */
  coolUntilMs = 0;
  /** The highest epoch whose session is known to be over. */
  endedEpoch = 0n;
  /** Since when no session was there for its leases, monotonic milliseconds. */
  absentSinceMs: number | undefined;

  constructor(namespace: string, agentId: string, breakerPolicy: BreakerPolicy) {
    this.namespace = namespace;
    this.agentId = agentId;
    this.key = agentKey(namespace, agentId);
    this.#breakerPolicy = breakerPolicy;
  }

  get region(): string {
    return this.profile?.region ?? "";
  }

  get labels(): Readonly<Record<string, string>> {
    return this.profile?.labels ?? NO_LABELS;
  }

  get connection(): Connection {
    if (this.session === undefined) return "NONE";
    return this.unreachable ? "DETACHED" : this.session.state;
  }

  get slots(): number {
    return this.session?.slots ?? 0;
  }

  /** Slots that are not free: of what the agent works on, and of choices. */
  get inHand(): number {
    return this.#leasedSlots + this.claims;
  }

  /** Slots of leases that the agent works on. */
  get leasedSlots(): number {
    return this.#leasedSlots;
  }

  /** Slots that are free at the agent's word, by ends that are not stored yet. What is stored apart from those ends must not count on them. */
  get doneSlots(): number {
    return this.#doneSlots;
  }

  /** Live leases by task. */
  get leases(): ReadonlyMap<string, LiveLease> {
    return this.#leases;
  }

  /** For the lease book alone, which holds the same leases by task. */
  addLease(live: LiveLease): void {
    const { task } = live.lease;
    this.removeLease(task.taskId);
    this.#leases.set(task.taskId, live);
    this.#count(live, 1);
  }

  /** For the lease book alone. */
  removeLease(taskId: string): void {
    const live = this.#leases.get(taskId);
    if (live === undefined) return;
    this.#leases.delete(taskId);
    this.#count(live, -1);
  }

  /** The agent is done with a lease, whose end is on its way: its slots are free. False when they were, or the lease is over. */
  freeSlots(live: LiveLease): boolean {
    return this.#setDone(live, true);
  }

  /** The end did not arrive: until the agent says it again, its slots count as taken. False when they do, or the lease is over. */
  holdSlots(live: LiveLease): boolean {
    return this.#setDone(live, false);
  }

  #setDone(live: LiveLease, done: boolean): boolean {
    if (live.done === done || this.#leases.get(live.lease.task.taskId) !== live) return false;
    this.#count(live, -1);
    live.done = done;
    this.#count(live, 1);
    return true;
  }

  #count({ done, lease }: LiveLease, sign: 1 | -1): void {
    const slots = sign * slotCostOf(lease.task.spec);
    if (done) this.#doneSlots += slots;
    else this.#leasedSlots += slots;
  }

  /** True when nothing is known and nothing in hand: the entry can go. */
  get isForgettable(): boolean {
    if (this.profile !== undefined || this.session !== undefined) return false;
    return this.claims === 0 && this.#leases.size === 0;
  }

  skill(capability: string): Skill | undefined {
    return this.profile?.skills.get(capability);
  }

  admits(capability: string, nowMs: number): boolean {
    return this.#breakers.get(capability)?.admits(nowMs) ?? true;
  }

  /** A task was taken back, or nobody will hear how it went: if it was a breaker's probe, another one may go. */
  forgetProbe({ taskId, spec }: LiveTask, nowMs: number): void {
    this.#breakers.get(spec.capability)?.onOutcome(taskId, "NEUTRAL", nowMs);
  }

  /** Memory was read anew: probes under way are forgotten. */
  forgetProbes(): void {
    for (const breaker of this.#breakers.values()) breaker.forgetProbe();
  }

  /** The breaker of a capability, made when first needed. */
  breaker(capability: string): Breaker {
    let breaker = this.#breakers.get(capability);
    if (breaker === undefined) {
      breaker = new Breaker(this.#breakerPolicy);
      this.#breakers.set(capability, breaker);
    }
    return breaker;
  }
}
