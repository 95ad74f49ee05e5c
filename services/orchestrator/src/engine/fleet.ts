/** Every agent of every namespace, indexed so that the cost of a choice does not grow with the fleet. */
import type { BreakerPolicy } from "../domain/breaker.ts";
import { REJECTIONS_MAX } from "../domain/limits.ts";
import type { LiveTask } from "../domain/live-task.ts";
import { lacksRoomOnly, type RoutingNeed, rejectionOf } from "../domain/routing.ts";
import type { Rejection, RejectionReason } from "../domain/routing-decision.ts";
import { AgentEntry, type AgentProfile, agentKey, type Standing } from "./agent-entry.ts";
import {
  type Candidates,
  howFar,
  LOOKS_MAX,
  type Nearest,
  NO_ONE,
  type SearchRest,
} from "./agent-search.ts";
import { IndexedSet } from "./indexed-set.ts";
import { LiveSkills } from "./live-skills.ts";
import { laneKey } from "./ready-queue.ts";

/** Most eligible agents that are scored for one task: beyond it the search stops, having begun at a random place. */
export const CANDIDATES_MAX = 64;

const NOBODY: readonly AgentEntry[] = [];

/** Agents with one capability. */
interface SkillIndex {
  readonly all: IndexedSet<AgentEntry>;
  readonly connected: IndexedSet<AgentEntry>;
  /** Connected, with a free slot: the only ones a search looks at. */
  readonly open: IndexedSet<AgentEntry>;
  /** Where the next look for full agents begins among the connected ones. */
  fullFrom: number;
}

/** What keeps agents from a task. */
export interface RejectionCounts {
  /** Agents that have the capability, and how many of them were looked at. */
  readonly skilled: number;
  readonly looked: number;
  readonly counts: ReadonlyMap<RejectionReason, number>;
}

/** How a fleet judges. */
export interface FleetOptions {
  readonly bulkhead: number;
  readonly breaker: BreakerPolicy;
  readonly random: () => number;
}

/** Owns the agents and their indexes. After any change of an entry, refresh() it. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #agents = new Map<string, AgentEntry>();
  readonly #skills = new Map<string, SkillIndex>();
  readonly #kept = new Set<AgentEntry>();
  /** Of connected agents. */
  readonly #live = new LiveSkills();

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#agents.size;
  }

  get(namespace: string, agentId: string): AgentEntry | undefined {
    return this.#agents.get(agentKey(namespace, agentId));
  }

  values(): IterableIterator<AgentEntry> {
    return this.#agents.values();
  }

  /** Returns the agent's entry, made when there is none. */
  open(namespace: string, agentId: string): AgentEntry {
    const key = agentKey(namespace, agentId);
    let entry = this.#agents.get(key);
    if (entry === undefined) {
      entry = new AgentEntry(namespace, agentId, this.#options.breaker);
      this.#agents.set(key, entry);
    }
    return entry;
  }

  /** Takes in what the registry says, and moves the agent between the indexes. */
  setProfile(profile: AgentProfile): AgentEntry {
    const entry = this.open(profile.namespace, profile.agentId);
    this.#unindex(entry);
    entry.profile = profile;
    entry.lanes = [...profile.skills.keys()].map((name) => laneKey(profile.namespace, name));
    this.#index(entry);
    return entry;
  }

  /** The registry no longer knows the agent. */
  removeProfile(namespace: string, agentId: string): void {
    const entry = this.get(namespace, agentId);
    if (entry === undefined) return;
    this.#unindex(entry);
    entry.profile = undefined;
    entry.lanes = [];
    this.#forgetIfIdle(entry);
  }

  /** Brings the indexes up to date after the entry's session, leases or claims changed.
   *
   * Cost: that of its capabilities when it came, went, filled up or has room again; nothing otherwise. */
  refresh(entry: AgentEntry): void {
    if (entry.standing !== this.#standingOf(entry)) {
      this.#setStanding(entry, this.#standingOf(entry));
      for (const lane of entry.lanes) {
        const index = this.#skills.get(lane);
        if (index !== undefined) place(entry, index);
      }
    }
    this.#forgetIfIdle(entry);
  }

  /** Says whether an agent could take anything at all. */
  isOpen(entry: AgentEntry): boolean {
    return (
      entry.connection === "CONNECTED" &&
      entry.inHand < Math.min(entry.slots, this.#options.bulkhead)
    );
  }

  /** Connected agents of a lane that have all they were said to take, at most so many. A call that finds none lets the next one go on behind it;
   * one that finds some does not, so that these are found again as long as they are full.
   *
   * Cost: LOOKS_MAX looks at most, none at agents that are away. */
  findFull(lane: string, limit: number): AgentEntry[] {
    const index = this.#skills.get(lane);
    if (index === undefined) return [];
    const { connected, fullFrom } = index;
    const looks = Math.min(connected.size, LOOKS_MAX);
    const full: AgentEntry[] = [];
    for (let i = 0; i < looks && full.length < limit; i += 1) {
      const entry = connected.at((fullFrom + i) % connected.size);
      if (entry.inHand >= entry.slots) full.push(entry);
    }
    if (looks > 0 && full.length === 0) index.fullFrom = (fullFrom + looks) % connected.size;
    return full;
  }

  /** Says whether any agent with the capability could take anything. */
  hasOpen(lane: string): boolean {
    return this.countOpen(lane) > 0;
  }

  /** How many agents with the capability could take anything. */
  countOpen(lane: string): number {
    return this.#skills.get(lane)?.open.size ?? 0;
  }

  /** Says whether an agent could take a task of that need now. */
  canTake(entry: AgentEntry, need: RoutingNeed, nowMs: number): boolean {
    return this.#reject(entry, need, nowMs) === undefined;
  }

  /** Agents whose slots are kept for a task. */
  get kept(): ReadonlySet<AgentEntry> {
    return this.#kept;
  }

  /** Keeps an agent's slots for a task, or no longer for any. */
  keep(entry: AgentEntry, task: LiveTask | undefined): void {
    entry.keptFor = task;
    if (task === undefined) this.#kept.delete(entry);
    else this.#kept.add(entry);
  }

  /** Says whether an agent can take a task, or could with all its slots free. */
  couldTake(entry: AgentEntry, need: RoutingNeed, nowMs: number): boolean {
    const reason = this.#reject(entry, need, nowMs);
    return reason === undefined || lacksRoomOnly(entry, need, this.#options.bulkhead, reason);
  }

  /** Finds the agent that could take a task with all its slots free, and lacks the fewest; none while one can take it as it is.
   *
   * Cost: LOOKS_MAX looks at most, from `from` on, or from a random place. */
  findNearest(lane: string, need: RoutingNeed, nowMs: number, from?: number): Nearest {
    const all = this.#skills.get(lane)?.all;
    if (all === undefined) return NO_ONE;
    const { bulkhead, random } = this.#options;
    const free = ({ slots, inHand }: AgentEntry) => Math.min(slots, bulkhead) - inHand;
    const looks = Math.min(all.size, LOOKS_MAX);
    const isPart = all.size > looks;
    const start = isPart ? (from ?? Math.floor(random() * all.size)) : 0;
    let nearest: AgentEntry | undefined;
    for (let i = 0; i < looks; i += 1) {
      const entry = all.at((start + i) % all.size);
      const reason = this.#reject(entry, need, nowMs);
      if (reason === undefined) return NO_ONE;
      if (entry.keptFor !== undefined || !lacksRoomOnly(entry, need, bulkhead, reason)) continue;
      if (nearest === undefined || free(entry) > free(nearest)) nearest = entry;
    }
    const isOpenEnded = isPart && nearest === undefined;
    return { agent: nearest, next: isOpenEnded ? (start + looks) % all.size : undefined };
  }

  /** Finds agents for a task.
   *
   * Looks at open agents from a random place on, until CANDIDATES_MAX are eligible or LOOKS_MAX were looked at: with up
   * to 64 eligible agents the choice is over all of them, beyond it over a random sample, which is nearly as good
   * (Mitzenmacher 2001, the power of two choices). The agents that the task names itself, its fallback and the one of
   * its affinity key, are among them in any case. When nobody was found among so many, `rest` goes on where it is given: from the first
   * one to the last, so that nobody is left out.   Cost: bounded, whatever the size of the fleet. */
  findCandidates(
    namespace: string,
    need: RoutingNeed,
    nowMs: number,
    rest?: SearchRest,
  ): Candidates {
    const index = this.#skills.get(laneKey(namespace, need.capability));
    if (index === undefined) return { eligible: [], rejections: [], rest: undefined, sure: true };
    const eligible: AgentEntry[] = [];
    const rejections: Rejection[] = [];
    const { open } = index;
    const named = this.#findNamed(index, namespace, need);
    const consider = (entry: AgentEntry) => {
      const reason = this.#reject(entry, need, nowMs);
      if (reason === undefined) eligible.push(entry);
      else if (rejections.length < REJECTIONS_MAX) {
        rejections.push({ agentId: entry.agentId, reason });
      }
    };
    named.forEach(consider);
    const start = rest?.at ?? this.#placeToBegin(open.size);
    const looks = Math.min(open.size - (rest?.at ?? 0), LOOKS_MAX);
    for (let i = 0; i < looks && eligible.length < CANDIDATES_MAX; i += 1) {
      const entry = open.at((start + i) % open.size);
      if (!named.includes(entry)) consider(entry);
    }
    this.#addClosed(index, need, nowMs, rejections);
    return { eligible, rejections, ...howFar(open, eligible.length > 0, rest) };
  }

  /** Finds agents for a task, looking at all that are open until somebody is found; for explanations only. */
  findAnywhere(namespace: string, need: RoutingNeed, nowMs: number): Candidates {
    let found = this.findCandidates(namespace, need, nowMs);
    while (found.rest !== undefined) {
      found = this.findCandidates(namespace, need, nowMs, found.rest);
    }
    return found;
  }

  /** Agents of a namespace that lack the capability; for explanations only, as it looks at the whole fleet. */
  findUnskilled(namespace: string, capability: string, limit: number): Rejection[] {
    const found: Rejection[] = [];
    for (const entry of this.#agents.values()) {
      if (found.length >= limit) break;
      if (entry.namespace !== namespace || entry.profile === undefined) continue;
      if (entry.skill(capability) === undefined) {
        found.push({ agentId: entry.agentId, reason: "CAPABILITY" });
      }
    }
    return found;
  }

  /** Counts what keeps agents that have the capability from a task, looking at LOOKS_MAX of them; undefined when one of these could take it. */
  countRejections(
    namespace: string,
    need: RoutingNeed,
    nowMs: number,
  ): RejectionCounts | undefined {
    const counts = new Map<RejectionReason, number>();
    const all = this.#skills.get(laneKey(namespace, need.capability))?.all;
    const skilled = all?.size ?? 0;
    const looked = Math.min(skilled, LOOKS_MAX);
    for (let i = 0; all !== undefined && i < looked; i += 1) {
      const reason = this.#reject(all.at(i), need, nowMs);
      if (reason === undefined) return undefined;
      counts.set(reason, (counts.get(reason) ?? 0) + 1);
    }
    return { skilled, looked, counts };
  }

  /** Says whether a connected agent has the capability in the range. */
  hasLiveSkill(namespace: string, capability: string, versionRange: string): boolean {
    return this.#live.has(namespace, capability, versionRange);
  }

  /** Capabilities of connected agents as `name@version`, sorted. */
  liveCapabilities(namespace: string): readonly string[] {
    return this.#live.list(namespace);
  }

  /** Agents that the task would rather have than others: at most two. */
  #findNamed({ open }: SkillIndex, namespace: string, need: RoutingNeed): readonly AgentEntry[] {
    if (need.preferAgentId === "" && need.affinityAgentId === "") return NOBODY;
    const ids = new Set([need.preferAgentId, need.affinityAgentId]);
    return [...ids].flatMap((id) => {
      const entry = id === "" ? undefined : this.get(namespace, id);
      return entry !== undefined && open.has(entry) ? [entry] : [];
    });
  }

  #placeToBegin(size: number): number {
    return size > CANDIDATES_MAX ? Math.floor(this.#options.random() * size) : 0;
  }

  #reject(entry: AgentEntry, need: RoutingNeed, nowMs: number) {
    if (entry.coolUntilMs > nowMs) return "NOT_CONNECTED";
    return rejectionOf(entry, need, this.#options.bulkhead, nowMs);
  }

  /** Names agents that are not open, too, looking at twice as many as can be named. */
  #addClosed(index: SkillIndex, need: RoutingNeed, nowMs: number, rejections: Rejection[]): void {
    const closed = index.all.size - index.open.size;
    if (closed === 0) return;
    const looks = Math.min(index.all.size, 2 * REJECTIONS_MAX);
    for (let i = 0; i < looks && rejections.length < REJECTIONS_MAX; i += 1) {
      const entry = index.all.at(i);
      if (index.open.has(entry)) continue;
      const reason = this.#reject(entry, need, nowMs);
      if (reason !== undefined) rejections.push({ agentId: entry.agentId, reason });
    }
  }

  #standingOf(entry: AgentEntry): Standing {
    if (entry.connection !== "CONNECTED") return "AWAY";
    return this.isOpen(entry) ? "OPEN" : "FULL";
  }

  #setStanding(entry: AgentEntry, standing: Standing): void {
    const { profile } = entry;
    const wasLive = entry.standing !== "AWAY";
    const isLive = standing !== "AWAY";
    entry.standing = standing;
    if (profile === undefined || wasLive === isLive) return;
    if (isLive) this.#live.add(profile);
    else this.#live.remove(profile);
  }

  #index(entry: AgentEntry): void {
    this.#setStanding(entry, this.#standingOf(entry));
    for (const key of entry.lanes) {
      let index = this.#skills.get(key);
      if (index === undefined) {
        index = {
          all: new IndexedSet(),
          connected: new IndexedSet(),
          open: new IndexedSet(),
          fullFrom: 0,
        };
        this.#skills.set(key, index);
      }
      index.all.add(entry);
      place(entry, index);
    }
  }

  #unindex(entry: AgentEntry): void {
    this.#setStanding(entry, "AWAY");
    for (const key of entry.lanes) {
      const index = this.#skills.get(key);
      index?.all.delete(entry);
      index?.connected.delete(entry);
      index?.open.delete(entry);
      if (index?.all.size === 0) this.#skills.delete(key);
    }
  }

  #forgetIfIdle(entry: AgentEntry): void {
    if (entry.isForgettable) this.#agents.delete(entry.key);
  }
}

/** Puts an agent where it stands. */
function place(entry: AgentEntry, { connected, open }: SkillIndex): void {
  if (entry.standing === "AWAY") connected.delete(entry);
  else connected.add(entry);
  if (entry.standing === "OPEN") open.add(entry);
  else open.delete(entry);
}
