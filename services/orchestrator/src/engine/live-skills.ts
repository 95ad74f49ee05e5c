/** What connected agents can do, counted, so that nobody has to look at the agents for it. */
import { firstInRange } from "../domain/version-range.ts";
import type { AgentProfile } from "./agent-entry.ts";

/** What a profile says of these. */
type Skilled = Pick<AgentProfile, "namespace" | "skills">;

/** How many agents have each version of each capability. */
type Counts = Map<string, Map<string, number>>;

/** Owns the counts, by namespace. */
export class LiveSkills {
  readonly #counts = new Map<string, Counts>();
  /** What list() answered, until another name comes or one goes. */
  readonly #listed = new Map<string, readonly string[]>();

  /** An agent is connected. */
  add({ namespace, skills }: Skilled): void {
    const counts = this.#counts.get(namespace) ?? new Map<string, Map<string, number>>();
    for (const [name, { versions }] of skills) {
      const agents = counts.get(name) ?? new Map<string, number>();
      for (const version of versions) {
        const before = agents.get(version) ?? 0;
        if (before === 0) this.#listed.delete(namespace);
        agents.set(version, before + 1);
      }
      if (agents.size > 0) counts.set(name, agents);
    }
    if (counts.size > 0) this.#counts.set(namespace, counts);
  }

  /** An agent that was added is not connected any more, or cannot do it any more. */
  remove({ namespace, skills }: Skilled): void {
    const counts = this.#counts.get(namespace);
    if (counts === undefined) return;
    for (const [name, { versions }] of skills) {
      const agents = counts.get(name);
      if (agents === undefined) continue;
      for (const version of versions) {
        const left = (agents.get(version) ?? 0) - 1;
        if (left > 0) agents.set(version, left);
        else if (agents.delete(version)) this.#listed.delete(namespace);
      }
      if (agents.size === 0) counts.delete(name);
    }
    if (counts.size === 0) this.#counts.delete(namespace);
  }

  /** Says whether anybody has the capability in the range. */
  has(namespace: string, capability: string, versionRange: string): boolean {
    const agents = this.#counts.get(namespace)?.get(capability);
    return agents !== undefined && firstInRange([...agents.keys()], versionRange) !== undefined;
  }

  /** All of them as `name@version`, sorted.
   *
   * Cost: that of their number after another one came or one went; nothing otherwise. */
  list(namespace: string): readonly string[] {
    const known = this.#listed.get(namespace);
    if (known !== undefined) return known;
    const names: string[] = [];
    for (const [name, agents] of this.#counts.get(namespace) ?? []) {
      for (const version of agents.keys()) names.push(`${name}@${version}`);
    }
    names.sort();
    if (names.length > 0) this.#listed.set(namespace, names);
    return names;
  }
}
