/** CapabilityIndex: all agents in memory, by namespace, id and capability name. The change feed keeps it current. */
import type { Agent, AgentKey, Presence, Reputation } from "./agent.ts";
import { approximateBytesOf } from "./agent-size.ts";
import {
  byVersionDescending,
  type CapabilityDefinition,
  CapabilityDefinitions,
} from "./capability-definition.ts";
import { wordsOf } from "./text-tokens.ts";

/** All versions of one capability that one agent has. Held per capability, so that going through the agents that have it
 * needs no look-up for each. */
export interface Offer {
  readonly agent: IndexedAgent;
  /** Highest version first; never empty. */
  readonly definitions: readonly CapabilityDefinition[];
}

/** One agent as discovery sees it. `view` is replaced with every change; the rest follows from the record. */
export interface IndexedAgent {
  readonly view: Agent;
  /** Its capabilities by name. */
  readonly offers: ReadonlyMap<string, Offer>;
  /** Words of its id and display name. */
  readonly words: ReadonlySet<string>;
  readonly approximateBytes: number;
}

interface Entry extends IndexedAgent {
  view: Agent;
  offers: ReadonlyMap<string, Offer>;
  words: ReadonlySet<string>;
  approximateBytes: number;
}

interface NamespaceAgents {
  readonly byId: Map<string, Entry>;
  readonly byCapability: Map<string, Set<Offer>>;
}

/** The index. Every method is synchronous; a caller that reads twice without awaiting sees one state. */
export class CapabilityIndex {
  readonly #namespaces = new Map<string, NamespaceAgents>();
  readonly #definitions = new CapabilityDefinitions();
  #size = 0;

  /** Agents in all namespaces. */
  get size(): number {
    return this.#size;
  }

  /** Distinct capabilities in all namespaces. */
  get definitionCount(): number {
    return this.#definitions.size;
  }

  /** Agents in one namespace. */
  countOf(namespace: string): number {
    return this.#namespaces.get(namespace)?.byId.size ?? 0;
  }

  /** One agent. */
  get(key: AgentKey): IndexedAgent | undefined {
    return this.#find(key);
  }

  /** The agents of a namespace, in no order. Do not await while iterating. */
  agentsOf(namespace: string): Iterable<IndexedAgent> {
    return this.#namespaces.get(namespace)?.byId.values() ?? [];
  }

  /** The offers of a capability in a namespace, one an agent, in no order. Do not await while iterating. */
  offersOf(namespace: string, capability: string): Iterable<Offer> {
    return this.#namespaces.get(namespace)?.byCapability.get(capability) ?? [];
  }

  /** All agents, of one namespace or of all, as they are now. */
  snapshot(namespace?: string): Pick<IndexedAgent, "view" | "approximateBytes">[] {
    const scope =
      namespace === undefined ? [...this.#namespaces.values()] : [this.#namespaces.get(namespace)];
    return scope.flatMap((agents) =>
      [...(agents?.byId.values() ?? [])].map(({ view, approximateBytes }) => ({
        view,
        approximateBytes,
      })),
    );
  }

  /** Adds an agent or replaces everything about it. */
  put(view: Agent): void {
    const agents = this.#open(view.record.namespace);
    const known = agents.byId.get(view.record.agentId);
    if (known !== undefined && known.view.record.revision === view.record.revision) {
      known.view = view;
      return;
    }
    if (known !== undefined) this.#unlist(agents, known);
    const entry = known ?? createEntry(view);
    this.#list(agents, entry, view);
    if (known !== undefined) return;
    agents.byId.set(view.record.agentId, entry);
    this.#size += 1;
  }

  /** Replaces an agent's presence; an unknown agent is left unknown. */
  putPresence(key: AgentKey, presence: Presence | undefined): void {
    const entry = this.#find(key);
    if (entry !== undefined) entry.view = { ...entry.view, presence };
  }

  /** Replaces an agent's reputations; an unknown agent is left unknown. */
  putReputations(key: AgentKey, reputations: readonly Reputation[]): void {
    const entry = this.#find(key);
    if (entry !== undefined) entry.view = { ...entry.view, reputations };
  }

  /** Notes when agents were last seen, for those whose presence is as old as `seenAtMs` says or older. */
  putSeen(key: AgentKey, seenAtMs: number): void {
    const presence = this.#find(key)?.view.presence;
    if (presence === undefined || presence.seenAtMs >= seenAtMs) return;
    this.putPresence(key, { ...presence, seenAtMs });
  }

  /** Removes an agent. */
  remove(key: AgentKey): void {
    const agents = this.#namespaces.get(key.namespace);
    const entry = agents?.byId.get(key.agentId);
    if (agents === undefined || entry === undefined) return;
    this.#unlist(agents, entry);
    agents.byId.delete(key.agentId);
    this.#size -= 1;
    if (agents.byId.size === 0) this.#namespaces.delete(key.namespace);
  }

  #find(key: AgentKey): Entry | undefined {
    return this.#namespaces.get(key.namespace)?.byId.get(key.agentId);
  }

  #open(namespace: string): NamespaceAgents {
    const known = this.#namespaces.get(namespace);
    if (known !== undefined) return known;
    const opened: NamespaceAgents = { byId: new Map(), byCapability: new Map() };
    this.#namespaces.set(namespace, opened);
    return opened;
  }

  #list(agents: NamespaceAgents, entry: Entry, view: Agent): void {
    const definitions = view.record.capabilities.map((each) => this.#definitions.acquire(each));
    const offers = groupByName(entry, definitions);
    entry.view = view;
    entry.offers = offers;
    entry.words = wordsOf(`${view.record.agentId} ${view.record.displayName}`);
    entry.approximateBytes = approximateBytesOf(view.record);
    for (const [name, offer] of offers) {
      const offering = agents.byCapability.get(name) ?? new Set();
      agents.byCapability.set(name, offering.add(offer));
    }
  }

  #unlist(agents: NamespaceAgents, entry: Entry): void {
    for (const [name, offer] of entry.offers) {
      for (const definition of offer.definitions) this.#definitions.release(definition);
      const offering = agents.byCapability.get(name);
      offering?.delete(offer);
      if (offering?.size === 0) agents.byCapability.delete(name);
    }
  }
}

function createEntry(view: Agent): Entry {
  return { view, offers: new Map(), words: new Set(), approximateBytes: 0 };
}

function groupByName(
  agent: Entry,
  definitions: readonly CapabilityDefinition[],
): Map<string, Offer> {
  const byName = new Map<string, CapabilityDefinition[]>();
  for (const definition of definitions) {
    const { name } = definition.capability;
    const versions = byName.get(name) ?? [];
    versions.push(definition);
    byName.set(name, versions);
  }
  const offers = [...byName].map(([name, versions]): [string, Offer] => [
    name,
    { agent, definitions: versions.sort(byVersionDescending) },
  ]);
  return new Map(offers);
}
