/** Tells routers which agents this replica could give more to than it was told it may: slots that several replicas want are
 * shared out among those who say so. */
import type { AgentEntry } from "./agent-entry.ts";
import type { Lane } from "./lane.ts";
import type { EngineParts } from "./parts.ts";

/** Agents of one lane for which more is asked: that many free slots, one after the other, are enough to get on. */
const AGENTS_PER_LANE_MAX = 64;
/** Classes of tasks set aside for which a review looks for agents: of each lane, and in all. It comes to the other lanes in turn. */
const CLASSES_PER_LANE_MAX = 16;
const REVIEWED_MAX = 64;
/** Demands change with every lane that fills or empties, so what changes within this time is told once. */
const TELL_AFTER_MS = 10;

/** What the demands need beside the shared parts. */
export interface DemandsDeps {
  readonly parts: EngineParts;
  /** How many replicas share the work: alone, there is nobody to share slots with. */
  readonly replicas: () => number;
}

/** Owns what was asked for. */
export class Demands {
  readonly #parts: EngineParts;
  readonly #deps: DemandsDeps;
  /** Agents of which more was asked, each with the epoch and router that heard it. */
  readonly #asked = new Map<AgentEntry, { readonly epoch: bigint; readonly router: string }>();
  /** Full agents that the last review found for tasks which those that are open cannot take. */
  readonly #missed = new Set<AgentEntry>();
  /** Where the next review begins. */
  #nextLane = "";
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: DemandsDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
  }

  /** Looks again soon: tasks came or went, or slots did. Costs nothing while this replica is alone. */
  look(): void {
    if (this.#timer !== undefined || (this.#deps.replicas() < 2 && this.#asked.size === 0)) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#tell();
    }, TELL_AFTER_MS);
  }

  /** Looks for agents that tasks wait for in lanes where others are open: nobody asks for these by looking at the lane. Called now and then. */
  review(): void {
    const { queue } = this.#parts;
    this.#missed.clear();
    if (this.#deps.replicas() < 2) return;
    const keys = [...queue.laneKeys()];
    const first = Math.max(0, keys.indexOf(this.#nextLane));
    let left = REVIEWED_MAX;
    for (let i = 0; i < keys.length && left > 0; i += 1) {
      const lane = queue.lane(keys[(first + i) % keys.length] as string);
      this.#nextLane = keys[(first + i + 1) % keys.length] as string;
      if (lane !== undefined) left -= this.#reviewLane(lane, left);
    }
  }

  #reviewLane(lane: Lane, limit: number): number {
    const { fleet, nowMs } = this.#parts;
    if (lane.aside === 0 || !fleet.hasOpen(lane.key)) return 0;
    const needs = lane.needsAside(Math.min(limit, CLASSES_PER_LANE_MAX));
    for (const need of needs) {
      const { agent } = fleet.findNearest(lane.key, need, nowMs());
      if (agent !== undefined && agent.inHand >= agent.slots) this.#missed.add(agent);
    }
    return needs.length;
  }

  /** A router's stream began: it has forgotten what was asked. */
  forget(router: string): void {
    for (const [agent, asked] of this.#asked) {
      if (asked.router === router) this.#asked.delete(agent);
    }
    this.look();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #tell(): void {
    const wanted = this.#deps.replicas() < 2 ? new Set<AgentEntry>() : this.#findWanted();
    for (const [agent, { epoch, router }] of this.#asked) {
      const session = agent.session;
      const same = session?.epoch === epoch && session.router === router;
      if (same && wanted.has(agent)) continue;
      this.#asked.delete(agent);
      if (same) this.#say(agent, false);
    }
    for (const agent of wanted) if (!this.#asked.has(agent)) this.#say(agent, true);
  }

  /** Agents that could take what waits, but for their slots. */
  #findWanted(): Set<AgentEntry> {
    const { queue, fleet } = this.#parts;
    // One that is kept is to give more than it has free.
    const wanted = new Set<AgentEntry>(fleet.kept);
    for (const agent of this.#missed) if (agent.inHand >= agent.slots) wanted.add(agent);
    for (const lane of queue.laneKeys()) {
      if (fleet.hasOpen(lane) || !queue.hasWaiting(lane)) continue;
      for (const agent of fleet.findFull(lane, AGENTS_PER_LANE_MAX)) wanted.add(agent);
    }
    return wanted;
  }

  #say(agent: AgentEntry, wanted: boolean): void {
    const { session, namespace, agentId } = agent;
    if (session === undefined) return;
    const { epoch, router } = session;
    const demand = { wanted, held: agent.leasedSlots };
    const said = this.#parts.dispatch.demand(router, { namespace, agentId, epoch }, demand);
    if (said && wanted) this.#asked.set(agent, { epoch, router });
  }
}
