/** Whom a backlog slows down, and whom not. */
import { KiB } from "@nexus/shared";
import { beforeEach, describe, expect, it } from "vitest";
import {
  COPIES_PER_SENDER_MAX,
  MESSAGE_QUEUE_BYTES_MAX,
  MESSAGE_QUEUE_MAX,
  PENDING_BYTES_MAX,
  PENDING_MESSAGES_MAX,
  PENDING_PER_SENDER_MAX,
  PUBLISH_WAIT_MS,
} from "../limits.ts";
import type { Session } from "../session/session.ts";
import { MessageRig, type RigReplica } from "./message-rig.fake.ts";

const BODY = 64 * KiB;
const LARGE = { payload: new Uint8Array(BODY), timeoutMs: 600_000 };
const TOPIC = { target: { kind: "topic", name: "t" }, timeoutMs: 600_000 } as const;
const MAIL = { mail: { ttlMs: 60_000, ackWaitMs: 1_000 } };
/** More than there can be room for, each with a full queue of large bodies. */
const MANY = (2 * PENDING_BYTES_MAX) / MESSAGE_QUEUE_BYTES_MAX;

let rig: MessageRig;
let here: RigReplica;

beforeEach(() => {
  rig = new MessageRig();
  [here] = rig.replicas as [RigReplica];
});

/** Sends to a receiver until that is refused. Returns how many were taken. */
function fill(sender: Session, receiver: string, more = {}): number {
  for (let taken = 0; ; taken += 1) {
    here.send(sender, `${receiver}-${taken}`, receiver, more);
    const [outcome] = here.outcomes(sender);
    if (outcome === undefined) continue;
    expect(outcome).toBe("overloaded");
    return taken;
  }
}

/** Agents that grant no credit, each with as much before it as it may have. */
function stall(count: number, more = {}): void {
  for (let i = 0; i < count; i += 1) {
    here.agent(`stalled-${i}`, 0);
    fill(here.agent(`sender-${i}`), `stalled-${i}`, more);
  }
}

/** Says how messages between two agents end: large ones, and more than once. */
function endsOf(from: Session, to: Session): string[] {
  for (let i = 0; i < 3; i += 1) here.send(from, `end-${i}`, to.agentId, LARGE);
  here.take(to);
  return here.outcomes(from);
}

const WELL = ["delivered", "delivered", "delivered"];

describe("a receiver without credit", () => {
  it("has a bounded number of messages before it, and bounded bytes", () => {
    here.agent("bob", 0);
    expect(fill(here.agent("a"), "bob", LARGE)).toBe((MESSAGE_QUEUE_BYTES_MAX / (BODY + 128)) | 0);
    here.agent("carol", 0);
    expect(fill(here.agent("b"), "carol")).toBe(MESSAGE_QUEUE_MAX);
  });

  it("takes no room from another namespace, however many such there are", () => {
    stall(MANY, LARGE);
    const [x, y] = [here.agent("x", 10_000, "other"), here.agent("y", 10_000, "other")];
    expect(endsOf(x, y)).toEqual(WELL);
    here.agent("stalled", 0, "other");
    expect(fill(x, "stalled", LARGE)).toBeGreaterThan(50);
  });

  it("takes no room from those of its namespace that keep up, however many such there are", () => {
    stall(MANY, LARGE);
    expect(fill(here.agent("late"), here.agent("later", 0).agentId, LARGE)).toBe(0);
    expect(endsOf(here.agent("x"), here.agent("y"))).toEqual(WELL);
  });

  it("gives its room back", () => {
    stall(1, LARGE);
    const stalled = here.directory.find("default", "stalled-0") as Session;
    here.engine.grant(stalled, 10_000);
    while (here.take(stalled).length > 0);
    expect(here.engine).toMatchObject({ pending: 0, pendingBytes: 0 });
  });
});

describe("what goes on while a namespace's room is full", () => {
  it("is mail", () => {
    stall(MANY, LARGE);
    here.agent("late", 0);
    expect(fill(here.agent("x"), "late", LARGE)).toBe(0);
    here.send(here.agent("y"), "m", "late", MAIL);
    expect(here.posted).toEqual(["m"]);
  });

  it("is a reply to a request that waits for it", () => {
    const [alice, bob] = [here.agent("alice", 0), here.agent("bob")];
    here.send(alice, "ask", "bob", { expectsReply: true, timeoutMs: 600_000 });
    const [request] = here.take(bob);
    stall(MANY, LARGE);
    here.send(bob, "answer", "", { ...LARGE, inReplyTo: request?.deliveryId ?? "" });
    expect(here.outcomes(bob)).toEqual([]);
    here.engine.grant(alice, 1);
    here.take(alice);
    expect(here.outcomes(bob)).toEqual(["delivered"]);
  });
});

describe("a sender to many", () => {
  function subscribe(replica: RigReplica, count: number): void {
    for (let i = 0; i < count; i += 1) {
      const agentId = `sub-${i}`;
      replica.agent(agentId, 0);
      for (const { topics } of rig.replicas) {
        topics.add("default", { agentId, pattern: "t", group: "", durable: false });
      }
    }
  }

  it("is bounded by its copies, and nobody else by them", () => {
    subscribe(here, 100);
    const [publisher, other] = [here.agent("p"), here.agent("q")];
    const sent = PENDING_MESSAGES_MAX / 100;
    for (let i = 0; i < sent; i += 1) {
      here.send(publisher, `m${i}`, "", TOPIC);
      here.read(publisher);
    }
    expect(here.engine.pending).toBe(COPIES_PER_SENDER_MAX);
    here.send(publisher, "more", "", TOPIC);
    expect(here.read(publisher).outcomes).toMatchObject([{ outcome: "overloaded", missed: 100 }]);
    here.send(other, "first", "", TOPIC);
    rig.pass(PUBLISH_WAIT_MS);
    expect(here.read(other).outcomes).toMatchObject([{ outcome: "queued", receivers: 100 }]);
    expect(endsOf(here.agent("x", 1, "other"), here.agent("y", 10, "other"))).toEqual(WELL);
    rig.pass(600_000);
    while (here.outcomes(publisher).length > 0);
    here.send(publisher, "again", "", TOPIC);
    rig.pass(PUBLISH_WAIT_MS);
    expect(here.read(publisher).outcomes).toMatchObject([{ receivers: 100 }]);
  });

  it("is bounded where its receivers are at another replica, too", () => {
    rig = new MessageRig(["a", "b"]);
    [here] = rig.replicas as [RigReplica];
    const there = rig.replicas[1] as RigReplica;
    subscribe(there, 100);
    const publisher = here.agent("p");
    for (let i = 0; i < PENDING_MESSAGES_MAX / 100; i += 1) {
      here.send(publisher, `m${i}`, "", TOPIC);
      here.read(publisher);
    }
    expect(there.engine.pending).toBe(COPIES_PER_SENDER_MAX);
  });

  it("cannot ask more than it may have without an outcome", () => {
    subscribe(here, 1);
    const receiver = here.directory.find("default", "sub-0") as Session;
    here.engine.grant(receiver, PENDING_PER_SENDER_MAX);
    const asker = here.agent("asker");
    const gather = { mode: "first", quorum: 0 } as const;
    for (let i = 0; i <= PENDING_PER_SENDER_MAX; i += 1) {
      expect(here.outcomes(asker)).toEqual([]);
      here.send(asker, `m${i}`, "", { ...TOPIC, expectsReply: true, gather });
      here.read(receiver);
    }
    expect(here.outcomes(asker)).toEqual(["overloaded"]);
  });
});
