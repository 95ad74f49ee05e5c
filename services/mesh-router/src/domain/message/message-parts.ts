/** Everything that messages go through, and how it hangs together. */
import type { Clock } from "@nexus/shared";
import { AgentBook } from "../agent-book.ts";
import { createMail, type MailParts } from "../mail/mail-parts.ts";
import type { EncodeEnvelope, MailEvents, MailStore } from "../mail/mail-ports.ts";
import type { MessageEvents, SessionObserver } from "../ports.ts";
import type { SessionDirectory } from "../session/session-directory.ts";
import { SubscriptionDesk, type SubscriptionStore } from "../topic/subscription-desk.ts";
import { TopicBook } from "../topic/topic-book.ts";
import type { LeasePort } from "./lease-gate.ts";
import { MessageEngine } from "./message-engine.ts";
import { MessageSwitch } from "./message-switch.ts";
import { PairBudget } from "./pair-budget.ts";

/** What messages are made from. */
export interface MessageInit {
  readonly directory: SessionDirectory;
  readonly mail: MailStore;
  readonly subscriptionStore: SubscriptionStore;
  readonly leases: LeasePort;
  readonly events: MessageEvents & MailEvents;
  readonly clock: Clock;
  /** Unique per start of the replica: begins every delivery id. */
  readonly idPrefix: string;
  readonly limits: {
    readonly mailboxMax: number;
    readonly mailAttemptsMax: number;
    readonly redeliveryInitialMs: number;
    readonly pairCausedPerMinute: number;
  };
  readonly encodeEnvelope: EncodeEnvelope;
  /** Mail is to be written or read. */
  readonly wakeMail: () => void;
}

/** What the rest of the router works with. */
export interface MessageParts extends MailParts {
  readonly agents: AgentBook;
  readonly topics: TopicBook;
  readonly subscriptions: SubscriptionDesk;
  readonly engine: MessageEngine;
  readonly messages: MessageSwitch;
  /** Who has to hear of sessions. */
  readonly observers: readonly SessionObserver[];
}

/** Creates the parts. */
export function createMessageParts(init: MessageInit): MessageParts {
  const { directory, events, clock, idPrefix, limits, leases } = init;
  const agents = new AgentBook();
  const topics = new TopicBook();
  const subscriptions = new SubscriptionDesk(topics, init.subscriptionStore);
  const mail = createMail({
    store: init.mail,
    events,
    clock,
    idPrefix,
    mailboxMax: limits.mailboxMax,
    attemptsMax: limits.mailAttemptsMax,
    redeliveryInitialMs: limits.redeliveryInitialMs,
    encodeEnvelope: init.encodeEnvelope,
    isKnown: (namespace, agentId) =>
      agents.has(namespace, agentId) || directory.find(namespace, agentId) !== undefined,
    wake: init.wakeMail,
  });
  const nowMs = clock.nowMs();
  const engine = new MessageEngine({ directory, events, ...mail, idPrefix, nowMs });
  const budget = new PairBudget(limits.pairCausedPerMinute);
  const books = { directory, agents, topics };
  const messages = new MessageSwitch({ ...books, engine, budget, leases, clock });
  const observers = [
    { sessionChanged: mail.desk.sessionChanged.bind(mail.desk) },
    { sessionChanged: subscriptions.sessionChanged.bind(subscriptions) },
  ];
  return { ...mail, agents, topics, subscriptions, engine, messages, observers };
}
