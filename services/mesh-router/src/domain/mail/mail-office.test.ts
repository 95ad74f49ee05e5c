import { createManualClock, KiB, type ManualClock } from "@nexus/shared";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { FakeMailStore } from "../../store/mail-store.fake.ts";
import type { Letter, SendResult } from "../message/letter.ts";
import { Session } from "../session/session.ts";
import type { AckKind, MailDelivery } from "./mail.ts";
import { MailBook } from "./mail-book.ts";
import { MailDesk } from "./mail-desk.ts";
import { MailJournal } from "./mail-journal.ts";
import { MailOffice } from "./mail-office.ts";

const NOTHING = new Uint8Array();
const ATTEMPTS_MAX = 3;
const REDELIVERY_MS = 100;
const ACK_WAIT_MS = 5_000;
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

let clock: ManualClock;
let store: FakeMailStore;
let desk: MailDesk;
let office: MailOffice;

beforeEach(() => setUp());

function setUp(mailboxMax = 1_000): void {
  clock = createManualClock();
  store = new FakeMailStore(() => clock.nowMs());
  const book = new MailBook();
  const journal = new MailJournal();
  const common = { book, journal, events: QUIET, clock };
  desk = new MailDesk({
    ...common,
    idPrefix: "p.",
    attemptsMax: ATTEMPTS_MAX,
    redeliveryInitialMs: REDELIVERY_MS,
    onWork: () => undefined,
  });
  office = new MailOffice({
    ...common,
    store,
    desk,
    mailboxMax,
    encodeEnvelope: ({ messageId }) => Buffer.from(messageId),
    isKnown: () => true,
    onWork: () => undefined,
  });
}

const stream = () => ({
  wake: () => undefined,
  hasAnswers: false,
  fail: () => undefined,
  finish: () => undefined,
});

/** An agent with a stream and much credit. */
function agent(agentId: string): Session {
  const session = new Session({
    namespace: "default",
    agentId,
    epoch: 1n,
    sessionId: `ses_${agentId}`,
    resumeHash: NOTHING,
    slots: 1,
    nowMs: clock.nowMs(),
  });
  attach(session);
  return session;
}

function attach(session: Session): void {
  session.state = "connected";
  session.stream = stream();
  session.credit = 1_000;
  desk.restarted(session);
  office.arrived(session);
}

function detach(session: Session): void {
  session.state = "detached";
  session.stream = undefined;
  session.outbox.takeBackDeliveries();
  desk.sessionChanged(session);
}

function post(
  sender: Session,
  messageId: string,
  toAgentId: string,
  more: Partial<Letter> = {},
  toAgentIds: readonly string[] = [toAgentId],
) {
  const mail = { ttlMs: 60_000, ackWaitMs: ACK_WAIT_MS };
  const letter: Letter = {
    messageId,
    toAgentId,
    payload: NOTHING,
    subject: NOTHING,
    expectsReply: false,
    inReplyTo: "",
    timeoutMs: 1_000,
    traceparent: NOTHING,
    mail,
    ...more,
  };
  office.post(sender, letter, toAgentIds);
}

/** What a session's stream would write now. */
function read(session: Session): MailDelivery[] {
  desk.pump(session);
  const deliveries = session.outbox.take()?.deliveries ?? [];
  return deliveries.filter((delivery) => delivery.kind === "mail");
}

const idOf = ({ mail }: MailDelivery): string => Buffer.from(mail.envelope).toString();

function say(session: Session, { deliveryId }: MailDelivery, kind: AckKind): void {
  desk.acknowledge(session, { deliveryId, kind, text: "" }, clock.nowMs());
}

function outcomes(session: Session): SendResult[] {
  return session.outbox.take()?.outcomes ?? [];
}

describe("the mail office", () => {
  it("answers after the commit, and delivers from memory once the sender's stream is known", async () => {
    const [alice, bob] = [agent("alice"), agent("bob")];
    post(alice, "m1", "bob");
    expect(outcomes(alice)).toEqual([]);
    await office.work();
    expect(outcomes(alice)).toMatchObject([{ outcome: "queued", position: 1 }]);
    expect(read(bob).map(idOf)).toEqual(["m1"]);
    post(alice, "m2", "bob");
    await office.work();
    expect(outcomes(alice)).toMatchObject([{ position: 2 }]);
    expect(read(bob).map(idOf)).toEqual(["m2"]);
  });

  it("keeps what could not be written, answers EXPIRED in time, and then stores what has time left", async () => {
    const [alice, bob] = [agent("alice"), agent("bob")];
    await office.work();
    store.away = true;
    post(alice, "m1", "bob");
    post(alice, "m2", "bob", { timeoutMs: 10_000 });
    await expect(office.work()).rejects.toThrow("away");
    clock.advance(1_100);
    office.expire(clock.nowMs());
    expect(outcomes(alice)).toMatchObject([{ messageId: "m1", outcome: "expired" }]);
    store.away = false;
    await office.work();
    expect(outcomes(alice)).toMatchObject([{ messageId: "m2", outcome: "queued" }]);
    expect(read(bob).map(idOf)).toEqual(["m2"]);
  });

  it("stores once what was committed without an answer, and delivers it", async () => {
    const [alice, bob] = [agent("alice"), agent("bob")];
    await office.work();
    store.losesAnswers = true;
    post(alice, "m1", "bob");
    await expect(office.work()).rejects.toThrow("lost");
    store.losesAnswers = false;
    await office.work();
    expect(store.rows.size).toBe(1);
    expect(outcomes(alice)).toMatchObject([{ outcome: "queued", duplicate: true }]);
    expect(read(bob).map(idOf)).toEqual(["m1"]);
  });

  it("delivers what was committed without an answer and whose sender's time is over, before what follows", async () => {
    const [alice, bob] = [agent("alice"), agent("bob")];
    await office.work();
    store.losesAnswers = true;
    post(alice, "m1", "bob");
    await expect(office.work()).rejects.toThrow("lost");
    store.losesAnswers = false;
    clock.advance(1_100);
    office.expire(clock.nowMs());
    post(alice, "m2", "bob");
    await office.work();
    expect(outcomes(alice).map(({ outcome }) => outcome)).toEqual(["expired", "queued"]);
    expect(read(bob).map(idOf)).toEqual(["m1", "m2"]);
  });

  it("stores few messages at once that go to many", async () => {
    const alice = agent("alice");
    await office.work();
    const names = Array.from({ length: 100 }, (_, at) => `many-${at}`);
    const rows: number[] = [];
    const commit = store.commit.bind(store);
    store.commit = async (batch) => {
      rows.push(batch.inserts.reduce((sum, { mailboxIds }) => sum + mailboxIds.length, 0));
      return commit(batch);
    };
    // An envelope is the message's id here.
    for (const id of ["1", "2", "3"]) post(alice, id.repeat(64 * KiB), "many-0", {}, names);
    await office.work();
    expect(rows).toEqual([100, 100, 100]);
  });

  it("tells others of mail for an agent that is not here", async () => {
    const alice = agent("alice");
    post(alice, "m1", "elsewhere");
    await office.work();
    expect(store.notified).toHaveLength(1);
  });

  it("counts what waits, and refuses beyond the limit", async () => {
    setUp(2);
    const [alice, bob] = [agent("alice"), agent("bob")];
    for (const id of ["m1", "m2", "m3"]) post(alice, id, "bob");
    await office.work();
    expect(outcomes(alice).map(({ outcome }) => outcome)).toEqual([
      "overloaded",
      "queued",
      "queued",
    ]);
    say(bob, read(bob)[0] as MailDelivery, "done");
    post(alice, "m4", "bob");
    await office.work();
    expect(outcomes(alice)).toMatchObject([{ outcome: "queued" }]);
  });
});

describe("the mail desk", () => {
  it("takes silence for a failure, unless the receiver extends its time", async () => {
    const [alice, bob] = [agent("alice"), agent("bob")];
    post(alice, "m1", "bob");
    await office.work();
    const [first] = read(bob) as [MailDelivery];
    clock.advance(ACK_WAIT_MS - 10);
    say(bob, first, "extend");
    clock.advance(ACK_WAIT_MS - 10);
    office.expire(clock.nowMs());
    expect(desk.unacknowledged).toBe(1);
    clock.advance(20);
    office.expire(clock.nowMs());
    expect(desk.unacknowledged).toBe(0);
    clock.advance(REDELIVERY_MS + 10);
    office.expire(clock.nowMs());
    expect(read(bob)).toMatchObject([{ attempt: 2, generation: 1 }]);
  });

  it("counts no silence of an agent without a stream", async () => {
    const [alice, bob] = [agent("alice"), agent("bob")];
    post(alice, "m1", "bob");
    await office.work();
    read(bob);
    detach(bob);
    clock.advance(2 * ACK_WAIT_MS);
    office.expire(clock.nowMs());
    attach(bob);
    await office.work();
    expect(read(bob)).toMatchObject([{ attempt: 1, generation: 0 }]);
  });

  it("gives up what nobody took in time", async () => {
    const alice = agent("alice");
    const bob = agent("bob");
    bob.credit = 0;
    post(alice, "m1", "bob", { mail: { ttlMs: 1_000, ackWaitMs: ACK_WAIT_MS } });
    await office.work();
    clock.advance(1_001);
    desk.giveUpExpired();
    await office.work();
    expect([...store.dead.values()]).toEqual(["EXPIRED"]);
  });

  it("lets a rejected message go without holding up its lane", async () => {
    const [alice, bob] = [agent("alice"), agent("bob")];
    for (const id of ["m1", "m2"]) post(alice, id, "bob");
    await office.work();
    const [first, second] = read(bob) as [MailDelivery, MailDelivery];
    say(bob, first, "reject");
    say(bob, second, "done");
    await office.work();
    expect([...store.dead.values()]).toEqual(["REJECTED"]);
    expect(store.rows.size).toBe(0);
  });
});

/** A receiver as the SDK is: one message of a sender at a time, in the order of arrival, nothing of an older generation. */
class Receiver {
  readonly session: Session;
  readonly handled: string[] = [];
  #waiting: MailDelivery[] = [];
  readonly #generations = new Map<string, number>();

  constructor(session: Session) {
    this.session = session;
  }

  take(): void {
    for (const delivery of read(this.session)) {
      const { sender } = delivery.mail;
      if (delivery.generation < (this.#generations.get(sender) ?? 0)) continue;
      this.#generations.set(sender, delivery.generation);
      this.#waiting = this.#waiting.filter(
        (one) => one.mail.sender !== sender || one.generation === delivery.generation,
      );
      this.#waiting.push(delivery);
    }
  }

  /** Handles the oldest delivery. */
  handle(kind: AckKind): void {
    const delivery = this.#waiting.shift();
    if (delivery === undefined) return;
    const { sender } = delivery.mail;
    if (kind === "done") this.handled.push(`${sender}/${idOf(delivery)}`);
    if (kind === "retry") {
      this.#waiting = this.#waiting.filter((one) => one.mail.sender !== sender);
      this.#generations.set(sender, delivery.generation + 1);
    }
    say(this.session, delivery, kind);
  }

  disconnect(): void {
    this.#waiting = [];
    this.#generations.clear();
    detach(this.session);
  }
}

type Step =
  | { readonly what: "post"; readonly sender: number }
  | { readonly what: "handle"; readonly kind: AckKind }
  | { readonly what: "work" | "take" | "reconnect" | "away" }
  | { readonly what: "wait"; readonly ms: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ what: fc.constant("post" as const), sender: fc.nat(2) }) },
    {
      weight: 6,
      arbitrary: fc.record({
        what: fc.constant("handle" as const),
        kind: fc.constantFrom<AckKind>("done", "done", "done", "retry"),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({ what: fc.constantFrom("work" as const, "take", "reconnect", "away") }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ what: fc.constant("wait" as const), ms: fc.constantFrom(50, 200) }),
    },
  ),
  { maxLength: 80 },
);

describe("order", () => {
  it("holds for each pair, and nothing is lost, whatever fails and disconnects", async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (plan) => {
        setUp();
        const senders = [agent("a"), agent("b"), agent("c")];
        const receiver = new Receiver(agent("r"));
        const posted = new Map<string, number>();
        for (const step of plan) await play(step, { senders, receiver, posted });
        await drain(receiver);
        const dead = new Set([...store.dead.keys()]);
        for (const [sender, count] of posted) {
          const own = receiver.handled.filter((one) => one.startsWith(`${sender}/`));
          const numbers = own.map((one) => Number(one.split("/")[1]));
          expect(numbers).toEqual([...new Set(numbers)].sort((x, y) => x - y));
          expect(numbers.length).toBeLessThanOrEqual(count);
        }
        const total = [...posted.values()].reduce((sum, count) => sum + count, 0);
        expect(receiver.handled.length + dead.size).toBe(total);
        expect(store.rows.size).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});

interface Scene {
  readonly senders: readonly Session[];
  readonly receiver: Receiver;
  readonly posted: Map<string, number>;
}

async function play(step: Step, { senders, receiver, posted }: Scene): Promise<void> {
  if (step.what === "post") {
    const sender = senders[step.sender] as Session;
    const number = posted.get(sender.agentId) ?? 0;
    posted.set(sender.agentId, number + 1);
    post(sender, String(number), "r", { timeoutMs: 600_000 });
  } else if (step.what === "handle") receiver.handle(step.kind);
  else if (step.what === "take") receiver.take();
  else if (step.what === "reconnect") {
    receiver.disconnect();
    attach(receiver.session);
  } else if (step.what === "away") store.away = !store.away;
  else if (step.what === "wait") {
    clock.advance(step.ms);
    office.expire(clock.nowMs());
  } else await office.work().catch(() => undefined);
}

async function drain(receiver: Receiver): Promise<void> {
  store.away = false;
  for (let round = 0; round < 400; round += 1) {
    await office.work();
    receiver.take();
    receiver.handle("done");
    clock.advance(50);
    office.expire(clock.nowMs());
  }
}
