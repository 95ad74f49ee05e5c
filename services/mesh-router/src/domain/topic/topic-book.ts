/** Who wants which topics: a trie of words for each namespace. Source: subjects and wildcards as NATS has them. */
import { TOPIC_REFERENCES_KEPT } from "../limits.ts";
import { MatchCache } from "./match-cache.ts";

/** An interest in topics. */
export interface Subscription {
  readonly agentId: string;
  readonly pattern: string;
  /** Empty when every subscriber gets each message. */
  readonly group: string;
  readonly durable: boolean;
  /** The replica that it lives at; undefined: this one, or in the table. */
  readonly origin?: string;
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

/** Where someone watches. */
export type EarPlace = "here" | "elsewhere";

/** Hears of what lives at this replica. */
export interface TopicObserver {
  subscriptionChanged(namespace: string, subscription: Subscription, gone: boolean): void;
  watchChanged(namespace: string, pattern: string, gone: boolean): void;
}

/** Everyone whose pattern fits a topic. */
export interface Match {
  readonly subscriptions: readonly Subscription[];
  readonly ears: readonly Ear[];
  /** Those at other replicas, each once. */
  readonly farEars: readonly Ear[];
}

interface Node {
  readonly children: Map<string, Node>;
  /** By agent, group and origin. */
  readonly subscriptions: Map<string, Subscription>;
  readonly ears: Set<Ear>;
  readonly farEars: Set<Ear>;
}

interface Namespace {
  readonly name: string;
  readonly root: Node;
  /** Of each agent, by pattern, group and origin. */
  readonly byAgent: Map<string, Map<string, Subscription>>;
}

const ANY_WORD = "*";
const ANY_WORDS = ">";
const SEPARATOR = "\u0000";
const NOTHING: Match = { subscriptions: [], ears: [], farEars: [] };

/** Keeps subscriptions and finds those that fit. */
export class TopicBook {
  readonly #namespaces = new Map<string, Namespace>();
  readonly #observer: TopicObserver | undefined;
  readonly #lossEars = new Set<() => void>();
  /** Of topics that were asked for since the last change in their namespace. */
  readonly #matches: MatchCache<Match>;

  constructor(observer?: TopicObserver, matches = new MatchCache<Match>(TOPIC_REFERENCES_KEPT)) {
    this.#observer = observer;
    this.#matches = matches;
  }

  /** Adds a subscription, or changes whether it is durable. */
  add(namespace: string, subscription: Subscription): void {
    const found = this.#namespace(namespace);
    const { agentId, pattern, origin } = subscription;
    this.#change(found, pattern, (node) =>
      node.subscriptions.set(agentId + SEPARATOR + tail(subscription), subscription),
    );
    const own = found.byAgent.get(agentId) ?? new Map<string, Subscription>();
    found.byAgent.set(agentId, own.set(pattern + SEPARATOR + tail(subscription), subscription));
    if (origin === undefined) this.#observer?.subscriptionChanged(namespace, subscription, false);
  }

  /** Takes a subscription back. Idempotent. */
  remove(namespace: string, subscription: Omit<Subscription, "durable">): void {
    const { agentId, pattern, origin } = subscription;
    const found = this.#namespaces.get(namespace);
    const own = found?.byAgent.get(agentId);
    const key = pattern + SEPARATOR + tail(subscription);
    const known = own?.get(key);
    if (found === undefined || own === undefined || known === undefined) return;
    own.delete(key);
    if (own.size === 0) found.byAgent.delete(agentId);
    this.#change(found, pattern, (node) =>
      node.subscriptions.delete(agentId + SEPARATOR + tail(subscription)),
    );
    if (origin === undefined) this.#observer?.subscriptionChanged(namespace, known, true);
  }

  /** The subscriptions of an agent that live here or in the table. */
  of(namespace: string, agentId: string): readonly Subscription[] {
    const all = this.#namespaces.get(namespace)?.byAgent.get(agentId)?.values() ?? [];
    return [...all].filter(({ origin }) => origin === undefined);
  }

  /** Everyone who has a subscription. */
  subscribers(): { readonly namespace: string; readonly agentId: string }[] {
    return [...this.#namespaces].flatMap(([namespace, { byAgent }]) =>
      [...byAgent.keys()].map((agentId) => ({ namespace, agentId })),
    );
  }

  /** Watches a pattern until the returned function is called. */
  listen(namespace: string, pattern: string, ear: Ear, place: EarPlace = "here"): () => void {
    const found = this.#namespace(namespace);
    const earsOf = (node: Node) => (place === "here" ? node.ears : node.farEars);
    const isFirst = this.#change(found, pattern, (node) => earsOf(node).add(ear).size === 1);
    if (isFirst && place === "here") this.#observer?.watchChanged(namespace, pattern, false);
    return () => {
      const isLast = this.#change(found, pattern, (node) => {
        return earsOf(node).delete(ear) && earsOf(node).size === 0;
      });
      if (isLast && place === "here") this.#observer?.watchChanged(namespace, pattern, true);
    };
  }

  /** Hears, until the returned function is called, that publications of other replicas may have been lost. */
  listenForLoss(ear: () => void): () => void {
    this.#lossEars.add(ear);
    return () => this.#lossEars.delete(ear);
  }

  /** Publications of other replicas may have been lost, whatever their topic. */
  tellLoss(): void {
    for (const ear of this.#lossEars) ear();
  }

  /** Everyone whose pattern fits. */
  match(namespace: string, topic: string): Match {
    const found = this.#namespaces.get(namespace);
    if (found === undefined) return NOTHING;
    const known = this.#matches.get(namespace, topic);
    if (known !== undefined) return known;
    const subscriptions: Subscription[] = [];
    const ears: Ear[] = [];
    const farEars = new Set<Ear>();
    collect(found.root, topic.split("."), 0, { subscriptions, ears, farEars });
    const match = { subscriptions, ears, farEars: [...farEars] };
    this.#matches.keep(namespace, topic, match);
    return match;
  }

  #namespace(name: string): Namespace {
    let found = this.#namespaces.get(name);
    if (found === undefined) {
      found = { name, root: createNode(), byAgent: new Map() };
      this.#namespaces.set(name, found);
    }
    return found;
  }

  /** Changes the node of a pattern, and forgets the way to it when nothing is left there. */
  #change<T>(found: Namespace, pattern: string, change: (node: Node) => T): T {
    this.#matches.forget(found.name);
    const words = pattern.split(".");
    const path = [found.root];
    for (const word of words) {
      const parent = path.at(-1) as Node;
      const child = parent.children.get(word) ?? createNode();
      parent.children.set(word, child);
      path.push(child);
    }
    const result = change(path.at(-1) as Node);
    for (let depth = words.length; depth > 0 && isEmpty(path[depth] as Node); depth -= 1) {
      path[depth - 1]?.children.delete(words[depth - 1] as string);
    }
    return result;
  }
}

/** What tells the subscriptions of one agent to one pattern apart. */
function tail({ group, origin = "" }: Pick<Subscription, "group" | "origin">): string {
  return group + SEPARATOR + origin;
}

function isEmpty({ children, subscriptions, ears, farEars }: Node): boolean {
  return children.size + subscriptions.size + ears.size + farEars.size === 0;
}

function createNode(): Node {
  return {
    children: new Map(),
    subscriptions: new Map(),
    ears: new Set(),
    farEars: new Set(),
  };
}

function collect(
  node: Node,
  words: readonly string[],
  at: number,
  match: {
    readonly subscriptions: Subscription[];
    readonly ears: Ear[];
    readonly farEars: Set<Ear>;
  },
): void {
  if (at === words.length) {
    // One by one: there may be more than a call takes arguments.
    for (const subscription of node.subscriptions.values()) match.subscriptions.push(subscription);
    for (const ear of node.ears) match.ears.push(ear);
    for (const ear of node.farEars) match.farEars.add(ear);
    return;
  }
  const rest = node.children.get(ANY_WORDS);
  if (rest !== undefined) collect(rest, words, words.length, match);
  for (const word of [words[at] as string, ANY_WORD]) {
    const child = node.children.get(word);
    if (child !== undefined) collect(child, words, at + 1, match);
  }
}
