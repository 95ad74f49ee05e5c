/** Connections that go silent without being closed, as when a firewall forgets them: between agents and the gateway, and between the gateway and
 * a router. Who holds one notices in time, and goes on by another. */
import { type TcpProxy, waitFor } from "@nexus/testkit";
import { belowMinimum } from "./_campaign.ts";
import { type MeshBed, type ReplicaName, SILENT_MAX_MS } from "./_mesh-bed.ts";

/** Before it would be noticed by default, on a busy machine too. */
const NOTICED_MAX_MS = 8 * SILENT_MAX_MS;
/** A connection without a stream is noticed by the next one; agents move until one has come to it. */
const MOVE_EACH_MS = 300;
const LIVENESS_MS = 60_000;

/** Owns the silences of one run. */
export class MeshSilences {
  readonly #bed: MeshBed;
  readonly #agents: readonly string[];
  readonly counts = { "silent agents": 0, "silent routers": 0, "slowest to notice, ms": 0 };
  #moves = 0;
  #movedAtMs = 0;

  constructor(bed: MeshBed, agents: readonly string[]) {
    this.#bed = bed;
    this.#agents = agents;
  }

  /** Silence between all agents and the gateway, until all have noticed, of which none moves: by that it would leave its connection. */
  async ofAgents(): Promise<void> {
    const { edge } = this.#bed;
    const { length } = this.#agents;
    await waitFor(() => edge.connected >= length, {
      what: "all agents to be connected",
      timeoutMs: LIVENESS_MS,
    });
    this.counts["silent agents"] += await this.#untilNoticed(edge, () => false);
  }

  /** Silence between the gateway and a router, until the gateway has noticed. */
  async ofRouter(name: ReplicaName): Promise<void> {
    const way = this.#bed.ways.get(name)?.calls;
    if (way === undefined) return;
    await waitFor(() => way.connected > 0 || this.#move(), {
      what: `a connection to ${name}`,
      timeoutMs: LIVENESS_MS,
    });
    this.counts["silent routers"] += await this.#untilNoticed(way, () => this.#move());
  }

  /** Problems when too few connections were silent to tell anything. */
  tooFew(): string[] {
    return belowMinimum(this.counts, { "silent agents": this.#agents.length, "silent routers": 1 });
  }

  async #untilNoticed(way: TcpProxy, meanwhile: () => false): Promise<number> {
    const silentAtMs = performance.now();
    way.silence();
    way.speak();
    const { unaware } = way;
    await waitFor(() => way.unaware === 0 || meanwhile(), {
      what: "silence to be noticed",
      timeoutMs: NOTICED_MAX_MS,
    });
    const tookMs = Math.round(performance.now() - silentAtMs);
    this.counts["slowest to notice, ms"] = Math.max(this.counts["slowest to notice, ms"], tookMs);
    return unaware;
  }

  /** One agent after the other opens its stream anew. */
  #move(): false {
    if (performance.now() < this.#movedAtMs + MOVE_EACH_MS) return false;
    this.#movedAtMs = performance.now();
    this.#moves += 1;
    this.#bed.say(this.#agents[this.#moves % this.#agents.length] ?? "", { move: true });
    return false;
  }
}
