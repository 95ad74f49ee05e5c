/** Who wants which topics: a trie of words for each namespace. Source: subjects and wildcards as NATS has them. */
import { TOPIC_MATCHES_KEPT } from "../limits.ts";

/** An interest in topics. */
export interface Subscription {
  readonly agentId: string;
  readonly pattern: string;
  /** Empty when every subscriber gets each message. */
  readonly group: string;
  readonly durable: boolean;
}

/** What is published, for those who only watch. */
export interface Published {
  readonly topic: string;
  readonly from: string;
  /** UTF-8. */
  readonly subject: Uint8Array;
  /** The encoded Payload. */
  readonly payload: Uint8Array;
  readonly acceptedAtMs: number;
}

/** Someone who watches and is no receiver. */
export type Ear = (published: Published) => void;

/** Everyone whose pattern fits a topic. */
export interface Match {
  readonly subscriptions: readonly Subscription[];
  readonly ears: readonly Ear[];
}

interface Node {
  readonly children: Map<string, Node>;
  /** By agent and group. */
  readonly subscriptions: Map<string, Subscription>;
  readonly ears: Set<Ear>;
}

interface Namespace {
  readonly root: Node;
  /** Of topics that were asked for since the last change. */
  readonly matches: Map<string, Match>;
  /** Of each agent, by pattern and group. */
  readonly byAgent: Map<string, Map<string, Subscription>>;
}

const ANY_WORD = "*";
const ANY_WORDS = ">";
const SEPARATOR = "\u0000";
const NOTHING: Match = { subscriptions: [], ears: [] };

/** Keeps subscriptions and finds those that fit. */
export class TopicBook {
  readonly #namespaces = new Map<string, Namespace>();

  /** Adds a subscription, or changes whether it is durable. */
  add(namespace: string, subscription: Subscription): void {
    const found = this.#namespace(namespace);
    const { agentId, pattern, group } = subscription;
    this.#change(found, pattern, (node) =>
      node.subscriptions.set(agentId + SEPARATOR + group, subscription),
    );
    const own = found.byAgent.get(agentId) ?? new Map<string, Subscription>();
    found.byAgent.set(agentId, own.set(pattern + SEPARATOR + group, subscription));
  }

  /** Takes a subscription back. Idempotent. */
  remove(namespace: string, { agentId, pattern, group }: Omit<Subscription, "durable">): void {
    const found = this.#namespaces.get(namespace);
    const own = found?.byAgent.get(agentId);
    if (found === undefined || own?.delete(pattern + SEPARATOR + group) !== true) return;
    if (own.size === 0) found.byAgent.delete(agentId);
    this.#change(found, pattern, (node) => node.subscriptions.delete(agentId + SEPARATOR + group));
  }

  /** The subscriptions of an agent. */
  of(namespace: string, agentId: string): readonly Subscription[] {
    return [...(this.#namespaces.get(namespace)?.byAgent.get(agentId)?.values() ?? [])];
  }

  /** Everyone who has a subscription. */
  subscribers(): { readonly namespace: string; readonly agentId: string }[] {
    return [...this.#namespaces].flatMap(([namespace, { byAgent }]) =>
      [...byAgent.keys()].map((agentId) => ({ namespace, agentId })),
    );
  }

  /** Watches a pattern until the returned function is called. */
  listen(namespace: string, pattern: string, ear: Ear): () => void {
    const found = this.#namespace(namespace);
    this.#change(found, pattern, (node) => node.ears.add(ear));
    return () => this.#change(found, pattern, (node) => node.ears.delete(ear));
  }

  /** Everyone whose pattern fits. */
  match(namespace: string, topic: string): Match {
    const found = this.#namespaces.get(namespace);
    if (found === undefined) return NOTHING;
    const known = found.matches.get(topic);
    if (known !== undefined) return known;
    const match = { subscriptions: [] as Subscription[], ears: [] as Ear[] };
    collect(found.root, topic.split("."), 0, match);
    if (found.matches.size >= TOPIC_MATCHES_KEPT) found.matches.clear();
    found.matches.set(topic, match);
    return match;
  }

  #namespace(name: string): Namespace {
    let found = this.#namespaces.get(name);
    if (found === undefined) {
      found = { root: createNode(), matches: new Map(), byAgent: new Map() };
      this.#namespaces.set(name, found);
    }
    return found;
  }

  /** Changes the node of a pattern, and forgets the way to it when nothing is left there. */
  #change(found: Namespace, pattern: string, change: (node: Node) => void): void {
    found.matches.clear();
    const words = pattern.split(".");
    const path = [found.root];
    for (const word of words) {
      const parent = path.at(-1) as Node;
      const child = parent.children.get(word) ?? createNode();
      parent.children.set(word, child);
      path.push(child);
    }
    change(path.at(-1) as Node);
    for (let depth = words.length; depth > 0; depth -= 1) {
      const { children, subscriptions, ears } = path[depth] as Node;
      if (children.size + subscriptions.size + ears.size > 0) return;
      path[depth - 1]?.children.delete(words[depth - 1] as string);
    }
  }
}

function createNode(): Node {
  return { children: new Map(), subscriptions: new Map(), ears: new Set() };
}

function collect(
  node: Node,
  words: readonly string[],
  at: number,
  match: { readonly subscriptions: Subscription[]; readonly ears: Ear[] },
): void {
  if (at === words.length) {
    match.subscriptions.push(...node.subscriptions.values());
    match.ears.push(...node.ears);
    return;
  }
  const rest = node.children.get(ANY_WORDS);
  if (rest !== undefined) collect(rest, words, words.length, match);
  for (const word of [words[at] as string, ANY_WORD]) {
    const child = node.children.get(word);
    if (child !== undefined) collect(child, words, at + 1, match);
  }
}
