import { beforeEach, describe, expect, it } from "vitest";
import { MESSAGE_QUEUE_MAX, PENDING_PER_SENDER_MAX } from "../limits.ts";
import { NO_MAIL } from "../mail/mail.fake.ts";
import { aloneOutward } from "../remote/outward.fake.ts";
import { fakeSession } from "../session/session.fake.ts";
import type { Session } from "../session/session.ts";
import { SessionDirectory } from "../session/session-directory.ts";
import { Caller } from "./caller.ts";
import { fakeLetter } from "./letter.fake.ts";
import type { Deliverable } from "./message.ts";
import { MessageEngine } from "./message-engine.ts";

const KiB = 1_024;
const MiB = 1_024 * KiB;

let directory: SessionDirectory;
let engine: MessageEngine;
let nowMs: number;
let latencies: number[];

beforeEach(() => {
  directory = new SessionDirectory();
  nowMs = 1_000;
  latencies = [];
  const events = {
    messageSettled: () => undefined,
    messageDelivered: (ms: number) => void latencies.push(ms),
  };
  engine = new MessageEngine({
    outward: aloneOutward(directory),
    events,
    ...NO_MAIL,
    idPrefix: "p.",
    nowMs,
  });
});

function agent(agentId: string, credit = 10_000): Session {
  const session = fakeSession(agentId, { nowMs });
  session.credit = credit;
  directory.add(session);
  return session;
}

function messageIdOf(delivery: Deliverable): string {
  return delivery.kind === "message" ? delivery.messageId : "";
}

/** Writes what waits for a session, as its stream would. */
function read(session: Session) {
  const batch = session.outbox.take();
  if (batch !== undefined) engine.written(session, batch.deliveries, batch.leftOut);
  return { deliveries: batch?.deliveries ?? [], outcomes: batch?.outcomes ?? [] };
}

const outcomes = (session: Session) => read(session).outcomes.map(({ outcome }) => outcome);

describe("MessageEngine", () => {
  it("measures from acceptance to acknowledgement", () => {
    const [alice, bob] = [agent("alice"), agent("bob")];
    engine.send(alice, fakeLetter("m", "bob"), nowMs);
    const [delivery] = read(bob).deliveries;
    const ack = { deliveryId: delivery?.deliveryId ?? "", kind: "done", text: "" } as const;
    engine.acknowledge(bob, ack, nowMs + 7);
    expect(outcomes(alice)).toEqual(["delivered"]);
    expect(latencies).toEqual([7]);
    expect(engine.pending).toBe(0);
  });

  it("says OVERLOADED beyond what one sender may have pending", () => {
    const [alice, bob] = [agent("alice"), agent("bob", PENDING_PER_SENDER_MAX)];
    for (let i = 0; i < PENDING_PER_SENDER_MAX; i += 1) {
      engine.send(alice, fakeLetter(`m${i}`, "bob"), nowMs);
      if (i % 500 === 0) read(bob);
    }
    expect(alice.outbox.items).toBe(0);
    engine.send(alice, fakeLetter("more", "bob"), nowMs);
    expect(read(alice).outcomes).toMatchObject([{ outcome: "overloaded", retryAfterMs: 100 }]);
  });

  it("bounds the bytes of all bodies together and lets go of those that were written", () => {
    const bob = agent("bob", 10_000);
    const body = { payload: new Uint8Array(256 * KiB), timeoutMs: 60_000 };
    const senders = Array.from({ length: 300 }, (_, i) => agent(`s${i}`));
    for (const sender of senders) engine.send(sender, fakeLetter("m", "bob", body), nowMs);
    const refused = senders.filter((sender) => outcomes(sender)[0] === "overloaded");
    expect(refused.length).toBeGreaterThan(300 - 260);
    while (read(bob).deliveries.length > 0);
    const late = agent("late");
    engine.send(late, fakeLetter("m", "bob", body), nowMs);
    expect(outcomes(late)).toEqual([]);
  });

  it("moves a backlog on only as fast as it is written", () => {
    const [alice, bob] = [agent("alice"), agent("bob")];
    const body = { payload: new Uint8Array(200 * KiB) };
    for (let i = 0; i < 20; i += 1) engine.send(alice, fakeLetter(`m${i}`, "bob", body), nowMs);
    expect(bob.inbox.size).toBeGreaterThan(10);
    const order: string[] = [];
    for (let batch = read(bob); batch.deliveries.length > 0; batch = read(bob)) {
      order.push(...batch.deliveries.map(messageIdOf));
    }
    expect(order).toEqual(Array.from({ length: 20 }, (_, i) => `m${i}`));
  });

  it("answers OVERLOADED to a reply whose asker is full, which may be tried again", () => {
    const [alice, bob] = [agent("alice", 0), agent("bob")];
    engine.send(alice, fakeLetter("ask", "bob", { expectsReply: true }), nowMs);
    const question = read(bob).deliveries[0]?.deliveryId ?? "";
    const filler = agent("filler");
    for (let i = 0; i < MESSAGE_QUEUE_MAX; i += 1) {
      engine.send(filler, fakeLetter(`f${i}`, "alice"), nowMs);
    }
    engine.send(bob, fakeLetter("answer", "", { inReplyTo: question }), nowMs);
    expect(outcomes(bob)).toEqual(["overloaded"]);
    engine.grant(alice, 10);
    engine.send(bob, fakeLetter("answer", "", { inReplyTo: question }), nowMs);
    engine.grant(alice, 10_000);
    while (alice.inbox.size > 0) read(alice);
    engine.send(bob, fakeLetter("third", "", { inReplyTo: question }), nowMs);
    expect(outcomes(bob)).toEqual(["refused"]);
  });

  it("settles a request whose reply never found credit as EXPIRED, both ways", () => {
    const [alice, bob] = [agent("alice", 0), agent("bob")];
    engine.send(alice, fakeLetter("ask", "bob", { expectsReply: true }), nowMs);
    const question = read(bob).deliveries[0]?.deliveryId ?? "";
    engine.send(bob, fakeLetter("answer", "", { inReplyTo: question, timeoutMs: 60_000 }), nowMs);
    expect(engine.expire(nowMs + 1_000)).toBe(2);
    expect(outcomes(alice)).toEqual(["expired"]);
    expect(outcomes(bob)).toEqual(["expired"]);
    engine.grant(alice, 10);
    expect(read(alice).deliveries).toEqual([]);
  });

  it("withdraws what a caller that left had not got through", async () => {
    const bob = agent("bob", 0);
    const caller = new Caller("default", "ursula");
    engine.send(caller, fakeLetter("m", "bob"), nowMs);
    engine.abandon(caller);
    expect((await caller.answer).result.outcome).toBe("cancelled");
    engine.grant(bob, 1);
    expect(read(bob).deliveries).toEqual([]);
  });

  it("starts a new stream's credit anew", () => {
    const [alice, bob] = [agent("alice"), agent("bob", 5)];
    engine.restart(bob, 1);
    engine.send(alice, fakeLetter("m1", "bob"), nowMs);
    engine.send(alice, fakeLetter("m2", "bob"), nowMs);
    expect(read(bob).deliveries).toHaveLength(1);
    engine.grant(bob, 20_000);
    expect(bob.credit).toBeLessThanOrEqual(10_000);
    expect(read(bob).deliveries).toHaveLength(1);
  });

  it("keeps what was not written for the next stream, in order and within its credit", () => {
    const [alice, bob] = [agent("alice"), agent("bob", 3)];
    for (let i = 0; i < 5; i += 1) engine.send(alice, fakeLetter(`m${i}`, "bob"), nowMs);
    expect(bob.inbox.size).toBe(2);
    engine.restart(bob, 1);
    expect(read(bob).deliveries.map(messageIdOf)).toEqual(["m0"]);
    engine.grant(bob, 10);
    const rest = read(bob).deliveries.map(messageIdOf);
    expect(rest).toEqual(["m1", "m2", "m3", "m4"]);
  });

  it("says NO_SUCH_AGENT for what was never written to a session that ended, else EXPIRED", () => {
    const [alice, bob] = [agent("alice"), agent("bob", 2)];
    engine.send(alice, fakeLetter("written", "bob"), nowMs);
    read(bob);
    engine.send(alice, fakeLetter("unwritten", "bob"), nowMs);
    engine.send(alice, fakeLetter("waiting", "bob"), nowMs);
    engine.ended(bob, "lost", nowMs);
    const said = read(alice).outcomes.map(({ messageId, outcome }) => [messageId, outcome]);
    expect(Object.fromEntries(said)).toEqual({
      written: "expired",
      unwritten: "no_such_agent",
      waiting: "no_such_agent",
    });
  });

  it("tells the sender of what an agent did not read", () => {
    const [alice, bob] = [agent("alice"), agent("bob")];
    engine.send(alice, fakeLetter("m", "bob"), nowMs);
    engine.unread(bob);
    expect(outcomes(alice)).toEqual(["overloaded"]);
    expect(engine.pending).toBe(0);
  });
});

describe("a frame's bytes", () => {
  const frame = new Uint8Array(64 * KiB);
  const part = () => frame.subarray(1, 20);
  const parts = () => ({ payload: part(), subject: part(), traceparent: part() });
  const held = (of: readonly (Uint8Array | undefined)[]) =>
    of.some((bytes) => bytes?.buffer === frame.buffer);

  it("are not held by a message that waits for credit", () => {
    const [alice, bob] = [agent("alice"), agent("bob", 0)];
    engine.send(alice, fakeLetter("m1", "bob", parts()), nowMs);
    const [message] = [...bob.inbox];
    expect(held([message?.payload, message?.subject, message?.traceparent])).toBe(false);
  });

  it.each([
    ["a message that waits for its acknowledgement", false],
    ["a request that waits for its reply", true],
  ])("are not held by %s", (_, expectsReply) => {
    const [alice, bob] = [agent("alice"), agent("bob")];
    engine.send(alice, fakeLetter("m1", "bob", { ...parts(), expectsReply }), nowMs);
    const [message] = bob.delivered.values();
    expect(held([message?.subject])).toBe(true);
    read(bob);
    expect(held([message?.payload, message?.subject, message?.traceparent])).toBe(false);
  });

  it("are held by what was not read, and by a part that may go again, until 32 MiB of frames have followed", () => {
    const [alice, bob, carol] = [agent("alice"), agent("bob"), agent("carol")];
    frame.fill(7);
    engine.send(alice, fakeLetter("unread", "carol", parts()), nowMs);
    engine.send(alice, fakeLetter("ask", "bob", { expectsReply: true }), nowMs);
    const question = read(bob).deliveries[0]?.deliveryId ?? "";
    const reply = { ...parts(), inReplyTo: question, more: true };
    engine.send(bob, fakeLetter("part", "", reply), nowMs);
    read(alice);
    const waiting = [...carol.delivered.values(), ...alice.delivered.values()];
    const views = () => waiting.flatMap((one) => [one.payload, one.subject, one.traceparent]);
    const another = new Uint8Array(MiB);
    for (let i = 0; i < 31; i += 1) engine.frameRead(another);
    expect(views().map((view) => held([view]))).toEqual(Array(6).fill(true));
    engine.frameRead(another);
    expect(held(views())).toBe(false);
    expect(views()).toEqual(Array(6).fill(new Uint8Array(19).fill(7)));
    expect(read(carol).deliveries).toEqual([waiting[0]]);
  });
});
