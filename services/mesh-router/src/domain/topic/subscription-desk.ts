/** Takes subscriptions of agents and takes them back; the durable ones through the store. */
import { SUBSCRIPTIONS_MAX } from "../limits.ts";
import type { Session } from "../session/session.ts";
import type { Subscription, TopicBook } from "./topic-book.ts";

/** What an agent says about one topic. */
export interface SubscriptionOrder {
  readonly pattern: string;
  readonly group: string;
  readonly durable: boolean;
}

/** A durable subscription, with its namespace. */
export interface StoredSubscription extends Subscription {
  readonly namespace: string;
}

/** A change of what is stored. */
export interface SubscriptionChange {
  readonly namespace: string;
  readonly agentId: string;
  readonly pattern: string;
  readonly group: string;
  readonly kept: boolean;
}

/** Where durable subscriptions live. */
export interface SubscriptionStore {
  /** Stores a change; those of one agent in the order of their calls. Other replicas are told. Errors: unavailable, exhausted. */
  change(change: SubscriptionChange): Promise<void>;
  /** Reads those of one agent. */
  load(namespace: string, agentId: string): Promise<readonly StoredSubscription[]>;
  /** Reads all. */
  loadAll(): Promise<readonly StoredSubscription[]>;
}

/** Owns what agents are subscribed to. */
export class SubscriptionDesk {
  readonly #topics: TopicBook;
  readonly #store: SubscriptionStore;

  constructor(topics: TopicBook, store: SubscriptionStore) {
    this.#topics = topics;
    this.#store = store;
  }

  /** An agent wants a topic. It learns the result on its stream. */
  subscribe(session: Session, order: SubscriptionOrder): void {
    const { namespace, agentId } = session;
    const own = this.#topics.of(namespace, agentId);
    const known = own.find((one) => one.pattern === order.pattern && one.group === order.group);
    if (known === undefined && own.length >= SUBSCRIPTIONS_MAX) {
      answer(session, order, "SUBSCRIPTION_LIMIT");
    } else if (order.durable || known?.durable === true) {
      void this.#change(session, order, order.durable ? "kept" : "not kept");
    } else {
      this.#topics.add(namespace, { agentId, ...order });
      answer(session, order, "");
    }
  }

  /** An agent does not want a topic any more. */
  unsubscribe(session: Session, order: SubscriptionOrder): void {
    const { namespace, agentId } = session;
    const own = this.#topics.of(namespace, agentId);
    const known = own.find((one) => one.pattern === order.pattern && one.group === order.group);
    if (known?.durable === true) {
      void this.#change(session, order, "gone");
    } else {
      this.#topics.remove(namespace, { agentId, ...order });
      answer(session, order, "");
    }
  }

  /** What ends with a session ends. */
  sessionChanged({ namespace, agentId, over }: Session): void {
    if (!over) return;
    for (const one of this.#topics.of(namespace, agentId)) {
      if (!one.durable) this.#topics.remove(namespace, one);
    }
  }

  /** What its agent subscribed to with this session, it says again at the other replica. */
  sessionMoved(session: Session): void {
    this.sessionChanged(session);
  }

  /** Another replica changed what an agent has stored. */
  async refresh(namespace: string, agentId: string): Promise<void> {
    this.#replace(namespace, agentId, await this.#store.load(namespace, agentId));
  }

  /** Reads everything anew. */
  async refreshAll(): Promise<void> {
    const byAgent = new Map<string, StoredSubscription[]>();
    for (const one of await this.#store.loadAll()) {
      const key = `${one.namespace}/${one.agentId}`;
      byAgent.set(key, [...(byAgent.get(key) ?? []), one]);
    }
    for (const { namespace, agentId } of this.#topics.subscribers()) {
      const key = `${namespace}/${agentId}`;
      if (!byAgent.has(key)) this.#replace(namespace, agentId, []);
    }
    for (const own of byAgent.values()) {
      const [first] = own;
      if (first !== undefined) this.#replace(first.namespace, first.agentId, own);
    }
  }

  #replace(namespace: string, agentId: string, stored: readonly Subscription[]): void {
    for (const one of this.#topics.of(namespace, agentId)) {
      if (one.durable) this.#topics.remove(namespace, one);
    }
    for (const { pattern, group } of stored) {
      this.#topics.add(namespace, { agentId, pattern, group, durable: true });
    }
  }

  async #change(
    session: Session,
    order: SubscriptionOrder,
    to: "kept" | "not kept" | "gone",
  ): Promise<void> {
    const { namespace, agentId } = session;
    const { pattern, group } = order;
    try {
      await this.#store.change({ namespace, agentId, pattern, group, kept: to === "kept" });
    } catch {
      // The store logs why; the agent says it again.
      answer(session, order, "UNAVAILABLE");
      return;
    }
    // What is not kept would outlive a session that ended meanwhile, which nobody ends again.
    const isGone = to === "gone" || (to === "not kept" && session.over);
    if (isGone) this.#topics.remove(namespace, { agentId, pattern, group });
    else this.#topics.add(namespace, { agentId, pattern, group, durable: to === "kept" });
    answer(session, order, "");
  }
}

function answer(session: Session, { pattern, group }: SubscriptionOrder, reason: string): void {
  session.pushNote({ kind: "subscription", pattern, group, reason });
}
