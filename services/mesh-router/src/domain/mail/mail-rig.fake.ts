/** An office and a desk over a store of the test's own, with agents whose streams a test reads by hand. */
import { createManualClock, type ManualClock } from "@nexus/shared";
import { fakeLetter } from "../message/letter.fake.ts";
import type { Letter, SendResult } from "../message/letter.ts";
import { fakeSession } from "../session/session.fake.ts";
import type { Session } from "../session/session.ts";
import type { AckKind, MailDelivery } from "./mail.ts";
import { MailBook } from "./mail-book.ts";
import { MailDesk } from "./mail-desk.ts";
import { MailJournal } from "./mail-journal.ts";
import { MailOffice } from "./mail-office.ts";
import type { MailStore } from "./mail-ports.ts";

export const ATTEMPTS_MAX = 3;
export const REDELIVERY_MS = 100;
export const ACK_WAIT_MS = 5_000;

const QUIET = {
  messageSettled: () => undefined,
  messageDelivered: () => undefined,
  mailStored: () => undefined,
  mailDuplicate: () => undefined,
  mailDelivered: () => undefined,
  mailAcknowledged: () => undefined,
  mailFailed: () => undefined,
  mailDied: () => undefined,
};

/** Everything that mail is made from. */
export class MailRig<S extends MailStore> {
  readonly clock: ManualClock = createManualClock();
  readonly store: S;
  readonly desk: MailDesk;
  readonly office: MailOffice;

  constructor(createStore: (nowMs: () => number) => S, mailboxMax = 1_000) {
    const { clock } = this;
    this.store = createStore(() => clock.nowMs());
    const common = { book: new MailBook(), journal: new MailJournal(), events: QUIET, clock };
    this.desk = new MailDesk({
      ...common,
      idPrefix: "p.",
      attemptsMax: ATTEMPTS_MAX,
      redeliveryInitialMs: REDELIVERY_MS,
      onWork: () => undefined,
    });
    this.office = new MailOffice({
      ...common,
      store: this.store,
      desk: this.desk,
      mailboxMax,
      encodeEnvelope: ({ messageId }) => Buffer.from(messageId),
      isKnown: () => true,
      onWork: () => undefined,
    });
  }

  /** An agent with a stream and much credit. */
  agent(agentId: string, namespace = "default"): Session {
    const session = fakeSession(agentId, { namespace, nowMs: this.clock.nowMs() });
    this.attach(session);
    return session;
  }

  attach(session: Session): void {
    session.state = "connected";
    session.stream = streamOfNobody();
    session.credit = 1_000;
    this.desk.restarted(session);
    this.office.arrived(session);
  }

  detach(session: Session): void {
    session.state = "detached";
    session.stream = undefined;
    session.outbox.takeBackDeliveries();
    this.desk.sessionChanged(session);
  }

  post(
    sender: Session,
    messageId: string,
    to: string | readonly string[],
    more: Partial<Letter> = {},
  ): void {
    const toAgentIds = typeof to === "string" ? [to] : to;
    const mail = { ttlMs: 60_000, ackWaitMs: ACK_WAIT_MS };
    const letter = fakeLetter(messageId, toAgentIds[0] ?? "", { mail, ...more });
    this.office.post(sender, letter, toAgentIds);
  }

  /** What a session's stream would write now. */
  read(session: Session): MailDelivery[] {
    this.desk.pump(session);
    const deliveries = session.outbox.take()?.deliveries ?? [];
    return deliveries.filter((delivery) => delivery.kind === "mail");
  }

  say(session: Session, { deliveryId }: MailDelivery, kind: AckKind): void {
    this.desk.acknowledge(session, { deliveryId, kind, text: "" }, this.clock.nowMs());
  }
}

/** An envelope is the message's id here. */
export function idOf({ mail }: MailDelivery): string {
  return Buffer.from(mail.envelope).toString();
}

/** Takes the outcomes that wait for a session. */
export function outcomesOf(session: Session): SendResult[] {
  return session.outbox.take()?.outcomes ?? [];
}

function streamOfNobody() {
  return {
    wake: () => undefined,
    hasAnswers: false,
    fail: () => undefined,
    finish: () => undefined,
  };
}
