/** Everything that messages go through, and how it hangs together. */
import type { Clock } from "@nexus/shared";
import { AgentBook } from "../agent-book.ts";
import { createMail, type MailParts } from "../mail/mail-parts.ts";
import type { EncodeEnvelope, MailEvents, MailStore } from "../mail/mail-ports.ts";
import type { MessageEvents, SessionObserver } from "../ports.ts";
import { Exchange } from "../remote/exchange.ts";
import type { Locator, ReplicaLink } from "../remote/remote-ports.ts";
import { RosterJournal } from "../remote/roster-journal.ts";
import type { SessionDirectory } from "../session/session-directory.ts";
import { SubscriptionDesk, type SubscriptionStore } from "../topic/subscription-desk.ts";
import { TopicBook } from "../topic/topic-book.ts";
import type { LeasePort } from "./lease-gate.ts";
import { MessageEngine } from "./message-engine.ts";
import { MessageSwitch } from "./message-switch.ts";
import { PairBudget } from "./pair-budget.ts";

/** What messages are made from. */
export interface MessageInit {
  /** This replica, and whether there can be another one. */
  readonly replicaId: string;
  readonly isAlone: boolean;
  readonly link: ReplicaLink;
  readonly locator: Locator;
  readonly onLocateFailed: (error: unknown) => void;
  /** There is something to tell the other replicas. */
  readonly wakeRoster: () => void;
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
  readonly wakeMail: (when: "now" | "soon") => void;
}

/** What the rest of the router works with. */
export interface MessageParts extends MailParts {
  readonly agents: AgentBook;
  readonly topics: TopicBook;
  readonly subscriptions: SubscriptionDesk;
  /** What is under way between replicas. */
  readonly exchange: Exchange;
  /** What this replica tells of itself. */
  readonly roster: RosterJournal;
  readonly engine: MessageEngine;
  readonly messages: MessageSwitch;
  /** Who has to hear of sessions. */
  readonly observers: readonly SessionObserver[];
}

/** Creates the parts. */
export function createMessageParts(init: MessageInit): MessageParts {
  const { events, clock, idPrefix, limits, leases } = init;
  const agents = new AgentBook();
  const roster = new RosterJournal(init.wakeRoster);
  const topics = new TopicBook(roster);
  const exchange = new Exchange({ ...init, topics });
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
      agents.has(namespace, agentId) || exchange.find(namespace, agentId) !== undefined,
    wake: init.wakeMail,
  });
  const nowMs = clock.nowMs();
  const engine = new MessageEngine({ outward: exchange, events, ...mail, idPrefix, nowMs });
  const budget = new PairBudget(limits.pairCausedPerMinute);
  const books = { exchange, agents, topics };
  const messages = new MessageSwitch({ ...books, engine, budget, leases, clock });
  const observers: SessionObserver[] = [
    roster,
    { sessionChanged: mail.desk.sessionChanged.bind(mail.desk) },
    subscriptions,
    {
      sessionChanged: (session) => {
        if (session.over) messages.ended(session);
      },
      sessionMoved: (session) => messages.ended(session),
    },
  ];
  return { ...mail, agents, topics, subscriptions, exchange, roster, engine, messages, observers };
}
