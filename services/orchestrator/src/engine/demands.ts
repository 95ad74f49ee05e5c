/** Tells routers which agents this replica could give more to than it was told it may: slots that several replicas want are
 * shared out among those who say so. */
import type { AgentEntry } from "./agent-entry.ts";
import type { EngineParts } from "./parts.ts";

/** Agents of one lane for which more is asked: that many free slots, one after the other, are enough to get on. */
const AGENTS_PER_LANE_MAX = 64;
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
