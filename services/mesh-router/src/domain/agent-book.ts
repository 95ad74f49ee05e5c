/** Which agents there are and what they can do, as the registry says. A hint: who has a session is the directory's to say. */

/** An agent as the registry knows it. */
export interface RegisteredAgent {
  readonly namespace: string;
  readonly agentId: string;
  /** Names, without versions. */
  readonly capabilities: readonly string[];
}

/** Who can do something. Thousands come and go at once, at a snapshot, and nobody asks meanwhile. */
interface Members {
  readonly ids: Set<string>;
  /** The same for who asks, once somebody did; never changed. */
  list: readonly string[] | undefined;
}

interface Namespace {
  readonly agents: Map<string, readonly string[]>;
  readonly byCapability: Map<string, Members>;
}

const NOBODY: readonly string[] = [];

/** Keeps what a watch of the registry tells. */
export class AgentBook {
  readonly #namespaces = new Map<string, Namespace>();

  /** Takes an agent in, or what changed about it. News are mostly of presence, which changes nothing here. */
  put({ namespace, agentId, capabilities }: RegisteredAgent): void {
    const known = this.#namespaces.get(namespace)?.agents.get(agentId);
    if (known?.join() === capabilities.join()) return;
    this.remove(namespace, agentId);
    const { agents, byCapability } = this.#namespace(namespace);
    agents.set(agentId, capabilities);
    for (const capability of capabilities) {
      const members = byCapability.get(capability) ?? { ids: new Set(), list: undefined };
      members.ids.add(agentId);
      members.list = undefined;
      byCapability.set(capability, members);
    }
  }

  remove(namespace: string, agentId: string): void {
    const found = this.#namespaces.get(namespace);
    const capabilities = found?.agents.get(agentId);
    if (found === undefined || capabilities === undefined) return;
    found.agents.delete(agentId);
    for (const capability of capabilities) {
      const members = found.byCapability.get(capability);
      if (members === undefined) continue;
      members.ids.delete(agentId);
      members.list = undefined;
      if (members.ids.size === 0) found.byCapability.delete(capability);
    }
    if (found.agents.size === 0) this.#namespaces.delete(namespace);
  }

  has(namespace: string, agentId: string): boolean {
    return this.#namespaces.get(namespace)?.agents.has(agentId) === true;
  }

  /** Who can do something. */
  members(namespace: string, capability: string): readonly string[] {
    const members = this.#namespaces.get(namespace)?.byCapability.get(capability);
    if (members === undefined) return NOBODY;
    members.list ??= [...members.ids];
    return members.list;
  }

  /** Everyone of a namespace. */
  agentsOf(namespace: string): Iterable<string> {
    return this.#namespaces.get(namespace)?.agents.keys() ?? NOBODY;
  }

  /** Everyone, to find out who is gone after a new snapshot. */
  *everyone(): Iterable<{ readonly namespace: string; readonly agentId: string }> {
    for (const [namespace, { agents }] of this.#namespaces) {
      for (const agentId of agents.keys()) yield { namespace, agentId };
    }
  }

  #namespace(name: string): Namespace {
    let found = this.#namespaces.get(name);
    if (found === undefined) {
      found = { agents: new Map(), byCapability: new Map() };
      this.#namespaces.set(name, found);
    }
    return found;
  }
}
