import { KiB } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { MESSAGE_QUEUE_BYTES_MAX, MESSAGE_QUEUE_MAX } from "../limits.ts";
import type { Session } from "../session/session.ts";
import { Caller } from "./caller.ts";
import type { Letter } from "./letter.ts";
import { MessageRig, type RigReplica } from "./message-rig.fake.ts";

const ASK: Partial<Letter> = { expectsReply: true, timeoutMs: 60_000 };
const REPLY: Partial<Letter> = { timeoutMs: 600_000 };
const CUT = { messageId: "q", outcome: "refused", reason: "REPLY_CUT" };

function sceneOf(ids: readonly string[]) {
  const rig = new MessageRig(ids);
  const here = rig.replicas[0] as RigReplica;
  const there = rig.replicas.at(-1) as RigReplica;
  const [alice, bob] = [here.agent("alice", 1), there.agent("bob")];
  here.send(alice, "q", "bob", ASK);
  const [question] = there.take(bob);
  const inReplyTo = question?.deliveryId ?? "";
  const reply = (messageId: string, more: Partial<Letter> = {}): void =>
    there.send(bob, messageId, "", { ...REPLY, inReplyTo, ...more });
  /** Leaves no room before an agent. */
  const fill = (agent: Session): void => {
    const filler = here.agent("filler");
    for (let i = 0; i <= MESSAGE_QUEUE_MAX; i += 1) here.send(filler, `f${i}`, agent.agentId);
  };
  /** All that an agent is given. */
  const readAll = (session: Session) => {
    const all = {
      replies: [] as string[],
      outcomes: [] as { messageId: string; outcome: string }[],
    };
    here.engine.grant(session, 10_000);
    for (let i = 0; i < 10; i += 1) {
      const { deliveries, outcomes } = here.read(session);
      all.outcomes.push(...outcomes);
      for (const one of deliveries) {
        here.ack(session, one.deliveryId);
        if (one.inReplyTo === "q") all.replies.push(one.messageId);
      }
    }
    return all;
  };
  const pending = (): number => here.engine.pending + there.engine.pending;
  return { rig, here, there, alice, bob, inReplyTo, reply, fill, readAll, pending };
}

const replicas = [
  ["at the same replica", ["a"]],
  ["at another replica", ["a", "b"]],
] as const;

describe.each(replicas)("the request of an asker %s", (_where, ids) => {
  it("ends with a part for which there is no room, and the replier is told to stop", () => {
    const { alice, bob, there, inReplyTo, reply, fill, readAll } = sceneOf(ids);
    reply("p1", { more: true });
    fill(alice);
    reply("p2", { more: true });
    const { outcomes, notes } = bob.outbox.take() ?? { outcomes: [], notes: [] };
    expect(outcomes).toMatchObject([{ messageId: "p2", outcome: "overloaded" }]);
    expect(notes).toEqual([{ kind: "cancel", deliveryId: inReplyTo }]);
    const read = readAll(alice);
    expect(read.replies).toEqual(["p1"]);
    expect(read.outcomes).toMatchObject([CUT]);
    reply("p3", { more: false });
    expect(there.read(bob).outcomes.at(-1)).toMatchObject({ reason: "NOT_AWAITED" });
  });

  it("ends with a part that its asker did not take in its time", () => {
    const { rig, here, alice, reply } = sceneOf(ids);
    reply("p1", { more: true, timeoutMs: 1_000 });
    rig.pass(1_010);
    expect(here.read(alice).outcomes).toMatchObject([CUT]);
  });

  it("stays open after a whole reply for which there was no room, for the next try", () => {
    const { here, there, alice, bob, reply, fill, readAll, pending } = sceneOf(ids);
    fill(alice);
    reply("r");
    expect(there.outcomes(bob)).toEqual(["overloaded"]);
    expect(readAll(alice)).toEqual({ replies: [], outcomes: [] });
    reply("r");
    const read = readAll(alice);
    expect(read.replies).toEqual(["r"]);
    expect(read.outcomes).toMatchObject([{ messageId: "q", outcome: "delivered" }]);
    expect(there.outcomes(bob)).toEqual(["delivered"]);
    here.leave(alice);
    expect(pending()).toBe(0);
  });

  it("is answered once: the same reply again is refused to its replier", () => {
    const { there, alice, bob, reply, readAll, pending } = sceneOf(ids);
    reply("r");
    reply("r");
    expect(there.read(bob).outcomes).toMatchObject([{ reason: "MESSAGE_ID_PENDING" }]);
    expect(readAll(alice).replies).toEqual(["r"]);
    reply("again");
    expect(there.read(bob).outcomes).toMatchObject([
      { messageId: "r", outcome: "delivered" },
      { messageId: "again", reason: "NOT_AWAITED" },
    ]);
    expect(pending()).toBe(0);
  });

  it("ends with its reply, also when the replier goes while that waits for its asker", () => {
    const { here, there, alice, bob, reply, fill, readAll } = sceneOf(ids);
    here.engine.grant(alice, 1);
    here.send(here.agent("carol"), "first", "alice");
    here.send(here.agent("dora"), "second", "alice");
    reply("r");
    there.leave(bob);
    fill(alice);
    const read = readAll(alice);
    expect(read.replies).toEqual(["r"]);
    expect(read.outcomes).toMatchObject([{ messageId: "q", outcome: "delivered" }]);
  });

  it("ends at its receiver's word that it does not answer, or no further", () => {
    const { here, there, alice, bob, inReplyTo, reply, pending } = sceneOf(ids);
    there.decline(bob, inReplyTo, "BUSY");
    expect(here.read(alice).outcomes).toMatchObject([
      { messageId: "q", outcome: "refused", reason: "HANDLER_FAILED", failureReason: "BUSY" },
    ]);
    reply("late");
    expect(there.read(bob).outcomes.at(-1)).toMatchObject({ reason: "NOT_AWAITED" });
    here.send(alice, "q", "bob", ASK);
    const [again] = there.take(bob);
    const deliveryId = again?.deliveryId ?? "";
    there.send(bob, "p1", "", { ...REPLY, inReplyTo: deliveryId, more: true });
    here.take(alice);
    there.decline(bob, deliveryId, "REPLY_CUT");
    expect(here.read(alice).outcomes).toMatchObject([CUT]);
    expect(pending()).toBe(0);
  });

  it("has few bytes of parts that its asker did not take: others' replies find room", () => {
    const { here, there, alice, bob, reply } = sceneOf(ids);
    here.engine.grant(alice, 10_000);
    const payload = new Uint8Array(256 * KiB);
    const fitting = Math.floor(MESSAGE_QUEUE_BYTES_MAX / (payload.byteLength + 128));
    for (let part = 1; part <= fitting; part += 1) reply(`p${part}`, { more: true, payload });
    for (let i = 0; i <= fitting; i += 1) here.read(alice);
    expect(there.outcomes(bob)).toEqual([]);
    reply("p-last", { more: true, payload });
    expect(there.outcomes(bob)).toEqual(["overloaded"]);
    expect(here.read(alice).outcomes).toMatchObject([CUT]);
  });
});

describe("a reply to another replica", () => {
  it("that cannot be told anything may be sent again", () => {
    const { rig, there, alice, bob, reply, readAll } = sceneOf(["a", "b"]);
    rig.isCut = true;
    reply("r");
    expect(there.outcomes(bob)).toEqual(["overloaded"]);
    rig.isCut = false;
    reply("r");
    expect(readAll(alice).replies).toEqual(["r"]);
  });

  it("is taken in where nobody waits any more: its replier hears so, and waits for nothing", () => {
    const { rig, here, there, alice, bob, reply, pending } = sceneOf(["a", "b"]);
    rig.loses = (item) => item.kind === "cancel";
    here.engine.cancel(alice, "q");
    reply("r");
    expect(there.read(bob).outcomes).toMatchObject([{ reason: "NOT_AWAITED" }]);
    expect(pending()).toBe(0);
  });
});

describe("a caller", () => {
  it("hears at once that its request is not answered", async () => {
    const { here, there, bob } = sceneOf(["a", "b"]);
    const caller = new Caller("default", "ursula");
    here.send(caller, "c", "bob", ASK);
    const [question] = there.take(bob);
    there.decline(bob, question?.deliveryId ?? "", "NO_HANDLER");
    expect((await caller.answer).result).toMatchObject({ reason: "NO_HANDLER" });
  });
});

describe("a gathering", () => {
  it("fails as soon as too few can still answer", () => {
    const rig = new MessageRig(["a", "b"]);
    const [here, there] = rig.replicas as [RigReplica, RigReplica];
    const [alice, bob, carol] = [here.agent("alice"), there.agent("bob"), here.agent("carol")];
    for (const agentId of ["bob", "carol"]) {
      here.topics.add("default", { agentId, pattern: "t", group: "", durable: false });
    }
    const gather = { mode: "all", quorum: 0 } as const;
    here.send(alice, "all", "", { ...ASK, target: { kind: "topic", name: "t" }, gather });
    const [asked] = there.take(bob);
    there.decline(bob, asked?.deliveryId ?? "", "");
    const [too] = here.take(carol);
    here.send(carol, "r", "", { ...REPLY, inReplyTo: too?.deliveryId ?? "" });
    const { deliveries, outcomes } = here.read(alice);
    expect(deliveries).toHaveLength(1);
    expect(outcomes).toMatchObject([
      { messageId: "all", reason: "QUORUM_IMPOSSIBLE", receivers: 2, replies: 1 },
    ]);
  });
});
