/** Agents as they are found where several teams bring their own: few excellent, some slow, some that fail fast. */
import type { Skill } from "../domain/routing.ts";
import type { AgentEntry } from "../engine/agent-entry.ts";
import type { Fleet } from "../engine/fleet.ts";

/** What an agent is really like, which routing can only learn. */
export interface TrueAgent {
  readonly agentId: string;
  readonly successRate: number;
  readonly medianMs: number;
  readonly slots: number;
}

interface Kind extends Omit<TrueAgent, "agentId"> {
  readonly name: string;
  readonly count: number;
}

/** The ones that fail fast have the most slots and are the least busy: the trap for who looks at load alone. */
const KINDS: readonly Kind[] = [
  { name: "excellent", count: 4, successRate: 0.99, medianMs: 80, slots: 8 },
  { name: "good", count: 8, successRate: 0.95, medianMs: 150, slots: 6 },
  { name: "slow", count: 6, successRate: 0.97, medianMs: 1_200, slots: 8 },
  { name: "flaky", count: 4, successRate: 0.4, medianMs: 40, slots: 16 },
  { name: "broken", count: 2, successRate: 0.02, medianMs: 15, slots: 16 },
];

/** Every agent of the fleet. */
export const SKEWED_AGENTS: readonly TrueAgent[] = KINDS.flatMap(({ name, count, ...rest }) =>
  Array.from({ length: count }, (_, i) => ({ agentId: `${name}-${i}`, ...rest })),
);

export const NAMESPACE = "default";
export const CAPABILITY = "work";

/** 95 % two-sided, as the registry counts. */
const Z_SQUARED = 1.959963984540054 ** 2;
/** What the registry gives to newcomers, and how fast its mean latency follows. */
const PRIOR_SUCCESSES = 2;
const LATENCY_ALPHA = 0.2;

/** Plays the registry: learns from outcomes, and says what it learnt when asked to publish. */
export class LearntReputations {
  readonly #fleet: Fleet;
  readonly #learnt = new Map<string, { good: number; bad: number; latencyMs?: number }>();

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
    for (const { agentId } of SKEWED_AGENTS) this.#learnt.set(agentId, { good: 0, bad: 0 });
  }

  observe(agentId: string, success: boolean, runTimeMs: number): void {
    const learnt = this.#learnt.get(agentId);
    if (learnt === undefined) return;
    if (success) {
      learnt.good += 1;
      const before = learnt.latencyMs ?? runTimeMs;
      learnt.latencyMs = before + LATENCY_ALPHA * (runTimeMs - before);
    } else {
      learnt.bad += 1;
    }
  }

  /** Tells the fleet; sessions live on. */
  publish(): void {
    for (const [agentId, { good, bad, latencyMs }] of this.#learnt) {
      const skill: Skill = {
        versions: ["1.0.0"],
        costMicros: 0,
        latencyMs,
        lowerBound: wilsonLowerBound(good + PRIOR_SUCCESSES, good + bad + PRIOR_SUCCESSES),
        evidence: good + bad,
      };
      const skills = new Map([[CAPABILITY, skill]]);
      this.#fleet.setProfile({ namespace: NAMESPACE, agentId, labels: {}, region: "", skills });
    }
  }
}

/** Lower end of the 95 % interval of a share. Source: Wilson 1927, JASA 22. */
function wilsonLowerBound(successes: number, trials: number): number {
  const spread = Math.sqrt(
    Z_SQUARED * ((successes * (trials - successes)) / trials + Z_SQUARED / 4),
  );
  return Math.max(0, (successes + Z_SQUARED / 2 - spread) / (trials + Z_SQUARED));
}

/** Connects every agent. */
export function connectAll(fleet: Fleet): Map<string, AgentEntry> {
  return new Map(
    SKEWED_AGENTS.map(({ agentId, slots }) => {
      const entry = fleet.open(NAMESPACE, agentId);
      entry.session = { epoch: 1n, state: "CONNECTED", slots, router: "none" };
      fleet.refresh(entry);
      return [agentId, entry];
    }),
  );
}
