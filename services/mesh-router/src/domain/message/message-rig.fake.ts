/** Replicas that tell each other at once, with agents whose streams a test reads by hand. */
import { createManualClock, type ManualClock } from "@nexus/shared";
import { AgentBook } from "../agent-book.ts";
import { NO_MAIL } from "../mail/mail.fake.ts";
import type { AckKind } from "../mail/mail.ts";
import { Exchange } from "../remote/exchange.ts";
import type { RelayedItem, Whereabouts } from "../remote/remote-ports.ts";
import { fakeSession } from "../session/session.fake.ts";
import type { Session } from "../session/session.ts";
import { SessionDirectory } from "../session/session-directory.ts";
import { TopicBook } from "../topic/topic-book.ts";
import { fakeLetter } from "./letter.fake.ts";
import type { Letter, SendResult } from "./letter.ts";
import type { Deliverable, Message, Sender } from "./message.ts";
import { MessageEngine } from "./message-engine.ts";
import { MessageSwitch } from "./message-switch.ts";
import { PairBudget } from "./pair-budget.ts";

const QUIET = { messageSettled: () => undefined, messageDelivered: () => undefined };

/** One replica, or several. */
export class MessageRig {
  readonly clock: ManualClock = createManualClock();
  readonly replicas: RigReplica[];
  /** Hears of everything that goes to another replica. */
  onCarried: (item: RelayedItem) => void = () => undefined;
  /** Where the table says that agents are, by namespace and name. */
  readonly whereabouts = new Map<string, Whereabouts>();
  /** Says what is lost on the way. */
  loses: (item: RelayedItem) => boolean = () => false;
  /** True while nothing is carried. */
  isCut = false;
  readonly #underWay: (() => void)[] = [];

  constructor(ids: readonly string[] = ["a"]) {
    this.replicas = ids.map((id) => new RigReplica(this, id, ids.length === 1));
    for (const one of this.replicas) {
      for (const other of this.replicas) if (one !== other) one.exchange.peerJoined(other.id);
    }
  }

  /** Takes an item on its way to a replica. */
  carry(from: string, to: string, item: RelayedItem): boolean {
    const replica = this.replicas.find(({ id }) => id === to);
    if (replica === undefined || this.isCut) return false;
    this.onCarried(item);
    if (this.loses(item)) return true;
    this.#underWay.push(() => replica.exchange.take(from, item));
    return true;
  }

  /** Lets everything that is on its way arrive. */
  settle(): void {
    for (let next = this.#underWay.shift(); next !== undefined; next = this.#underWay.shift()) {
      next();
    }
  }

  /** Lets time pass. */
  pass(ms: number): void {
    this.clock.advance(ms);
    for (const { engine, messages } of this.replicas) {
      engine.expire(this.clock.nowMs());
      messages.expire(this.clock.nowMs());
    }
    this.settle();
  }
}

/** What messages go through at one replica. */
export class RigReplica {
  readonly id: string;
  readonly agents = new AgentBook();
  readonly topics = new TopicBook();
  readonly directory = new SessionDirectory();
  readonly exchange: Exchange;
  readonly engine: MessageEngine;
  readonly messages: MessageSwitch;
  /** Durable messages that went to the office. */
  readonly posted: string[] = [];
  readonly #rig: MessageRig;
  #rosterSequence = 0;

  constructor(rig: MessageRig, id: string, isAlone: boolean) {
    this.#rig = rig;
    this.id = id;
    const { clock } = rig;
    const { directory, topics, agents } = this;
    this.exchange = new Exchange({
      replicaId: id,
      isAlone,
      directory,
      topics,
      link: { isConnected: true, send: (to, item) => rig.carry(id, to, item) },
      locator: { locate: async () => rig.whereabouts },
      clock,
      onLocateFailed: () => undefined,
    });
    const { exchange } = this;
    const post = (_: unknown, { messageId }: Letter): void => void this.posted.push(messageId);
    const mail = { desk: NO_MAIL.desk, office: { ...NO_MAIL.office, post } };
    const engineInit = { outward: exchange, events: QUIET, ...mail, idPrefix: `${id}.` };
    this.engine = new MessageEngine({ ...engineInit, nowMs: clock.nowMs() });
    exchange.bind(this.engine, () => undefined);
    const books = { exchange, agents, topics, engine: this.engine };
    const leases = {
      check: () => Promise.reject(new Error("no message under a lease is expected here")),
    };
    const budget = new PairBudget(1_000);
    this.messages = new MessageSwitch({ ...books, budget, leases, clock });
  }

  /** An agent with a stream, of which the other replicas know. */
  agent(agentId: string, credit = 10_000, namespace = "default"): Session {
    const session = fakeSession(agentId, { namespace, nowMs: this.#rig.clock.nowMs() });
    session.credit = credit;
    this.directory.add(session);
    const entry = { kind: "session", namespace: "default", agentId, epoch: 1n } as const;
    this.#rosterSequence += 1;
    for (const { exchange } of this.#rig.replicas) {
      if (exchange === this.exchange) continue;
      exchange.rosters.toldAll(this.id, {
        sequence: this.#rosterSequence,
        changes: [...this.directory.sessionsOf("default")].map((one) => ({
          entry: { ...entry, agentId: one.agentId, attached: one.attached },
          gone: false,
        })),
      });
    }
    return session;
  }

  /** Sends a message, by an agent or a caller of this replica. */
  send(sender: Sender, messageId: string, toAgentId: string, more: Partial<Letter> = {}): void {
    this.messages.send(sender, fakeLetter(messageId, toAgentId, more));
    this.#rig.settle();
  }

  /** A session ends. */
  leave(session: Session): void {
    session.state = "closed";
    this.engine.ended(session, "goodbye", this.#rig.clock.nowMs());
    this.#rig.settle();
  }

  /** What a session's stream would write now. */
  read(session: Session): { deliveries: readonly Message[]; outcomes: readonly SendResult[] } {
    const batch = session.outbox.take();
    if (batch !== undefined) this.engine.written(session, batch.deliveries, batch.leftOut);
    const isMessage = (one: Deliverable): one is Message => one.kind === "message";
    const deliveries = (batch?.deliveries ?? []).filter(isMessage);
    return { deliveries, outcomes: batch?.outcomes ?? [] };
  }

  outcomes(session: Session): string[] {
    return this.read(session).outcomes.map(({ outcome }) => outcome);
  }

  ack(session: Session, deliveryId: string, kind: AckKind = "done"): void {
    this.engine.acknowledge(session, { deliveryId, kind, text: "" }, this.#rig.clock.nowMs());
    this.#rig.settle();
  }

  /** A receiver says that it does not answer, in its word. */
  decline(session: Session, deliveryId: string, reason: string): void {
    const word = { deliveryId, kind: "reject", text: "", reason } as const;
    this.engine.acknowledge(session, word, this.#rig.clock.nowMs());
    this.#rig.settle();
  }

  /** Acknowledges what comes. */
  take(session: Session): readonly Message[] {
    const { deliveries } = this.read(session);
    for (const { deliveryId } of deliveries) this.ack(session, deliveryId);
    return deliveries;
  }
}
