/** Matches waiting tasks with agents. Event-driven: a lane is looked at when something about it changed. */
import { type Claim, type LiveTask, waitMsOf } from "../domain/live-task.ts";
import { chooseAgent, isTaskBefore, type RoutingNeed } from "../domain/routing.ts";
import { slotCostOf } from "../domain/task.ts";
import type { WaitClock } from "../domain/waiting-task.ts";
import type { AgentEntry } from "./agent-entry.ts";
import type { Candidates, SearchRest } from "./agent-search.ts";
import { Heap } from "./heap.ts";
import type { Lane } from "./lane.ts";
import type { EngineParts } from "./parts.ts";
import { type Best, laneKey, needOf } from "./ready-queue.ts";
import { Reservations } from "./reservations.ts";
import { Retries, retriesFor } from "./retries.ts";

/** Choices in one turn of the event loop; the rest waits for the next turn, so that calls and streams get theirs. */
export const CHOICES_PER_TURN = 256;
/** Searches in one turn that find nobody. Counted apart, so that they take no choice from those who would find somebody. */
export const MISSES_PER_TURN = 256;
/** What the sweep tries in each lane. */
const SWEPT = { classes: 256, looks: 262_144 };
/** Most choices that may wait for their commit. */
export const CLAIMS_IN_FLIGHT_MAX = 2_048;

/** The lanes of one namespace that are to be looked at. They may compete for the same agents, so the best task of them all
 * goes first; those of other namespaces never do, so namespaces take turns. */
interface Contest {
  readonly keys: Set<string>;
  /** The lanes' best tasks, for the turn that looks at them. */
  contenders: Heap<Best> | undefined;
}

/** What a task asks of an agent, and who was found for it. */
interface Search {
  readonly need: RoutingNeed;
  readonly found: Candidates;
}

/** A choice for a task that is not stored yet. */
export interface Placement {
  readonly claim: Claim;
  readonly agent: AgentEntry;
}

/** What the scheduler needs beside the shared parts. */
export interface SchedulerDeps {
  readonly parts: EngineParts;
  /** Takes a choice over; the agent's claim is counted already. */
  readonly claim: (claim: Claim, agent: AgentEntry, wait: WaitClock) => void;
  /** Choices that wait for their commit. */
  readonly claimsInFlight: () => number;
  /** All that could be chosen for now was. */
  readonly onTurn: () => void;
}

/** Owns the decision who gets what, and when to look again. */
export class Scheduler {
  readonly #parts: EngineParts;
  readonly #deps: SchedulerDeps;
  readonly #reservations: Reservations;
  readonly #retries: Retries;
  /** By namespace; whose turn is next comes first. */
  readonly #contests = new Map<string, Contest>();
  #turn: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerDueAtMs = Number.POSITIVE_INFINITY;
  #assignments = 0;
  #paused = true;

  constructor(deps: SchedulerDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
    this.#reservations = new Reservations(deps.parts);
    this.#retries = new Retries(deps.parts, (lane) => this.#wake(lane));
  }

  /** Begins to choose; everything is looked at once. */
  resume(): void {
    this.#paused = false;
    for (const agent of this.#parts.fleet.values()) this.wakeAgent(agent);
    this.#armTimer();
  }

  /** Stops choosing, for as long as nothing can be committed. */
  pause(): void {
    this.#paused = true;
    this.#contests.clear();
    this.#reservations.clear();
    this.#retries.clear();
    clearImmediate(this.#turn);
    clearTimeout(this.#timer);
    this.#turn = undefined;
    this.#timer = undefined;
    this.#timerDueAtMs = Number.POSITIVE_INFINITY;
  }

  /** A task of the lane became ready. */
  wakeLane(key: string): void {
    const lane = this.#parts.queue.lane(key);
    if (lane !== undefined) this.#wake(lane);
  }

  #wake({ key, namespace, isOpen }: Lane): void {
    if (this.#paused || !isOpen) return;
    const contest = this.#contests.get(namespace);
    if (contest !== undefined) contest.keys.add(key);
    else this.#contests.set(namespace, { keys: new Set([key]), contenders: undefined });
    this.#turn ??= setImmediate(() => this.#runTurn());
  }

  /** Says whether place() might choose an agent for a task of this kind: most of the time of a busy owner it would not, and
   * the tasks need not be made for it. */
  mayPlace(namespace: string, capability: string): boolean {
    if (this.#paused || this.#contests.has(namespace)) return false;
    const key = laneKey(namespace, capability);
    return this.#parts.fleet.hasOpen(key) && !this.#parts.queue.hasWaiting(key);
  }

  /** Chooses agents for tasks that are about to be stored, so that they are stored with their leases and never wait. It passes nothing
   * over: where a task of the lane waits, or a lane of the namespace has yet to be looked at, it chooses nothing. Nor does it count on
   * slots whose ends are not stored yet: these leases are not stored behind them. The agents' claims are counted. */
  place(tasks: readonly LiveTask[]): Placement[] {
    const { queue, fleet } = this.#parts;
    if (this.#paused) return [];
    const placements: Placement[] = [];
    const room = CLAIMS_IN_FLIGHT_MAX - this.#deps.claimsInFlight();
    const most = Math.min(CHOICES_PER_TURN, room);
    const found = new Map<string, boolean>();
    for (const task of [...tasks].sort((a, b) => (isTaskBefore(a, b) ? -1 : 1))) {
      if (placements.length >= most) break;
      const key = laneKey(task.namespace, task.spec.capability);
      const isFree =
        found.get(key) ?? (!this.#contests.has(task.namespace) && !queue.hasWaiting(key));
      const placement =
        isFree && fleet.hasOpen(key)
          ? this.#choose(task, this.#search(task), hasStoredRoom)
          : undefined;
      // Those behind one that finds nobody wait with it.
      found.set(key, placement !== undefined);
      if (placement !== undefined) placements.push(placement);
    }
    return placements;
  }

  /** An agent came, changed, or has a slot free: every lane it can serve is looked at. */
  wakeAgent(agent: AgentEntry): void {
    const { fleet, queue } = this.#parts;
    fleet.refresh(agent);
    this.#reservations.check(agent);
    if (this.#paused || !fleet.isOpen(agent)) return;
    for (const key of agent.lanes) {
      const lane = queue.lane(key);
      if (lane === undefined) continue;
      if (lane.aside > 0) {
        const nowMs = this.#parts.nowMs();
        const fits = (need: RoutingNeed) => fleet.canTake(agent, need, nowMs);
        if (!lane.reopenFor(agent.labels, fits)) this.#retries.add(lane);
      }
      this.#wake(lane);
    }
  }

  /** Looks at every lane; the safety net behind the events, what lets an open breaker's probe through, and what keeps slots
   * for tasks that take several. */
  wakeAll(): void {
    const { fleet, queue } = this.#parts;
    if (this.#paused) return;
    for (const agent of this.#reservations.review()) this.wakeAgent(agent);
    for (const key of queue.laneKeys()) {
      const lane = queue.lane(key);
      if (lane === undefined || !fleet.hasOpen(key)) continue;
      lane.reopenSome(retriesFor(fleet.countOpen(key), SWEPT));
      this.#wake(lane);
    }
  }

  /** A task with a delay was added: the timer may have to fire earlier. */
  delayedAdded(): void {
    if (!this.#paused) this.#armTimer();
  }

  #armTimer(): void {
    const dueAtMs = this.#parts.queue.nextDueAtMs;
    if (dueAtMs === undefined || dueAtMs >= this.#timerDueAtMs) return;
    clearTimeout(this.#timer);
    this.#timerDueAtMs = dueAtMs;
    const delayMs = Math.max(0, Math.ceil(dueAtMs - this.#parts.nowMs()));
    this.#timer = setTimeout(() => {
      this.#timerDueAtMs = Number.POSITIVE_INFINITY;
      for (const key of this.#parts.queue.releaseDue(this.#parts.nowMs())) this.wakeLane(key);
      this.#armTimer();
    }, delayMs);
  }

  #runTurn(): void {
    this.#turn = undefined;
    const looked = new Set<Contest>();
    const left = { choices: CHOICES_PER_TURN, misses: MISSES_PER_TURN };
    const share = Math.ceil(CHOICES_PER_TURN / Math.max(1, this.#contests.size));
    for (const [namespace, contest] of this.#contests) {
      if (left.choices === 0 || left.misses === 0 || this.#isFull()) break;
      looked.add(contest);
      this.#hold(contest, share, left);
      this.#contests.delete(namespace);
      // At the end of the map it is met again, behind the others.
      if (contest.keys.size > 0) this.#contests.set(namespace, contest);
    }
    for (const contest of looked) contest.contenders = undefined;
    // When claims in flight are the limit, their commit wakes the lanes left here.
    if (this.#contests.size > 0 && !this.#isFull()) {
      this.#turn = setImmediate(() => this.#runTurn());
    }
    this.#deps.onTurn();
  }

  /** Lanes left over when claims in flight were the limit go on. */
  claimsCommitted(): void {
    if (this.#contests.size > 0 && !this.#paused) {
      this.#turn ??= setImmediate(() => this.#runTurn());
    }
  }

  #isFull(): boolean {
    return this.#deps.claimsInFlight() >= CLAIMS_IN_FLIGHT_MAX;
  }

  /** Looks at the best tasks of a namespace, so many at most. */
  #hold(contest: Contest, looks: number, left: { choices: number; misses: number }): void {
    contest.contenders ??= this.#open(contest);
    for (let i = 0; i < looks; i += 1) {
      if (left.choices === 0 || left.misses === 0 || this.#isFull()) return;
      const next = contest.contenders.pop();
      if (next === undefined) {
        // Lanes may have been woken since it was made.
        contest.contenders = undefined;
        return;
      }
      if (this.#look(next)) left.choices -= 1;
      else left.misses -= 1;
      this.#enter(next.lane.key, contest, contest.contenders);
    }
  }

  #open(contest: Contest): Heap<Best> {
    const contenders = new Heap<Best>((a, b) => isTaskBefore(a.task, b.task));
    for (const key of contest.keys) this.#enter(key, contest, contenders);
    return contenders;
  }

  /** Enters a lane with its best task; one that has none, or no agent, is done with. */
  #enter(key: string, contest: Contest, contenders: Heap<Best>): void {
    const { queue, fleet } = this.#parts;
    const lane = fleet.hasOpen(key) ? queue.lane(key) : undefined;
    const best = lane === undefined ? undefined : queue.best(lane);
    if (best === undefined) contest.keys.delete(key);
    else contenders.push(best);
  }

  /** Chooses an agent for the lane's best task and claims it; false when none was found. When there is none, its class is set aside; when
   * others are still to be looked at, it goes on with them the next time. */
  #look({ lane, task, group }: Best): boolean {
    const { queue } = this.#parts;
    const search = this.#search(task, group.rest);
    const placement = this.#choose(task, search);
    group.rest = placement === undefined ? search.found.rest : undefined;
    if (placement === undefined) {
      if (group.rest === undefined) lane.setAside(group, search.need, search.found.sure);
      return false;
    }
    const wait = queue.take(task.taskId) ?? beginWait(task, this.#parts.nowMs());
    this.#deps.claim(placement.claim, placement.agent, wait);
    const kept = this.#reservations.onTaken(lane, group);
    if (kept !== undefined) this.wakeAgent(kept);
    return true;
  }

  #search(task: LiveTask, rest?: SearchRest): Search {
    const { fleet, affinity, nowMs } = this.#parts;
    const need = needOf(task, affinity.agentOf(task));
    return { need, found: fleet.findCandidates(task.namespace, need, nowMs(), rest) };
  }

  /** Chooses an agent and counts the claim on it; undefined when there is none, or the best one will not do. */
  #choose(
    task: LiveTask,
    { need, found }: Search,
    willDo?: (agent: AgentEntry, cost: number) => boolean,
  ): Placement | undefined {
    const { fleet, routing, affinity } = this.#parts;
    const nowMs = this.#parts.nowMs();
    const choice = chooseAgent(found.eligible, found.rejections, need, routing);
    const { agent } = choice;
    const cost = slotCostOf(task.spec);
    if (agent?.session === undefined || willDo?.(agent, cost) === false) return undefined;
    this.#assignments += 1;
    agent.lastAssigned = this.#assignments;
    agent.claims += cost;
    affinity.note(task, agent.agentId);
    agent.breaker(task.spec.capability).onAssigned(task.taskId, nowMs);
    fleet.refresh(agent);
    const claim = {
      task,
      agentId: agent.agentId,
      agentEpoch: agent.session.epoch,
      capabilityVersion: choice.version,
      decision: choice.decision,
    };
    return { claim, agent };
  }
}

/** The clock of a task that waits from now on. */
export function beginWait(task: LiveTask, nowMs: number): WaitClock {
  return { sinceMs: nowMs, startByMs: nowMs + waitMsOf(task) };
}

/** There are so many slots free beside those whose ends are not stored yet. */
function hasStoredRoom({ inHand, doneSlots, slots }: AgentEntry, cost: number): boolean {
  return inHand + doneSlots + cost <= slots;
}
