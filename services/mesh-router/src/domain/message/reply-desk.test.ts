import { describe, expect, it } from "vitest";
import type { Session } from "../session/session.ts";
import { Caller } from "./caller.ts";
import type { Letter } from "./letter.ts";
import { MessageRig, type RigReplica } from "./message-rig.fake.ts";

const ASK: Partial<Letter> = { expectsReply: true, timeoutMs: 60_000 };
const IN_PARTS = { outcome: "refused", reason: "PARTS_NOT_TAKEN" };

/** The receiver answers what it was asked last with so many parts. */
function answerInParts(where: RigReplica, receiver: Session, parts: number): void {
  const inReplyTo = where.take(receiver).at(-1)?.deliveryId ?? "";
  for (let part = 1; part <= parts; part += 1) {
    where.send(receiver, `p${part}`, "", { inReplyTo, more: part < parts });
  }
}

const replicas = [
  ["at the same replica", ["a"]],
  ["at another replica", ["a", "b"]],
] as const;

describe.each(replicas)("a reply in parts to an asker %s", (_where, ids) => {
  function scene() {
    const rig = new MessageRig(ids);
    const here = rig.replicas[0] as RigReplica;
    const there = rig.replicas.at(-1) as RigReplica;
    return { rig, here, there, bob: there.agent("bob") };
  }

  it("is no reply to a caller, who takes one piece: both learn so at once", async () => {
    const { here, there, bob } = scene();
    const caller = new Caller("default", "ursula");
    here.send(caller, "q", "bob", ASK);
    answerInParts(there, bob, 3);
    const { result, reply } = await caller.answer;
    expect(result).toMatchObject(IN_PARTS);
    expect(reply).toBeUndefined();
    expect(there.read(bob).outcomes).toMatchObject([
      { messageId: "p1", ...IN_PARTS },
      { messageId: "p2", outcome: "refused", reason: "NOT_AWAITED" },
      { messageId: "p3", outcome: "refused", reason: "NOT_AWAITED" },
    ]);
    expect(here.engine.pending + there.engine.pending).toBe(0);
  });

  it("is none of the replies that a gathering waits for", () => {
    const { here, there, bob } = scene();
    const alice = here.agent("alice");
    const [carol, dave] = [here.agent("carol"), here.agent("dave")];
    for (const agentId of ["bob", "carol", "dave"]) {
      here.topics.add("default", { agentId, pattern: "t", group: "", durable: false });
    }
    const target = { kind: "topic", name: "t" } as const;
    here.send(alice, "q", "", { ...ASK, target, gather: { mode: "quorum", quorum: 2 } });
    answerInParts(there, bob, 3);
    for (const one of [carol, dave]) {
      const [question] = here.take(one);
      here.send(one, "whole", "", { inReplyTo: question?.deliveryId ?? "" });
    }
    const { deliveries, outcomes } = here.read(alice);
    expect(deliveries.map(({ sender, part }) => [sender.principalId, part])).toEqual([
      ["carol", 0],
      ["dave", 0],
    ]);
    expect(outcomes).toMatchObject([{ messageId: "q", outcome: "delivered", replies: 2 }]);
    here.send(alice, "all", "", { ...ASK, target, gather: { mode: "quorum", quorum: 3 } });
    answerInParts(there, bob, 2);
    expect(here.read(alice).outcomes).toMatchObject([
      { messageId: "all", outcome: "refused", reason: "QUORUM_IMPOSSIBLE" },
    ]);
  });
});

describe("a part that is lost between replicas", () => {
  function scene() {
    const rig = new MessageRig(["a", "b"]);
    const [here, there] = rig.replicas as [RigReplica, RigReplica];
    rig.loses = (item) => item.kind === "reply" && item.reply.letter.messageId === "p1";
    return { here, there, bob: there.agent("bob") };
  }

  it("is seen by the numbers of the others", () => {
    const { here, there, bob } = scene();
    const alice = here.agent("alice");
    here.send(alice, "q", "bob", ASK);
    answerInParts(there, bob, 2);
    expect(here.read(alice).deliveries).toMatchObject([{ part: 2, more: false }]);
  });

  it("does not make the last one a whole reply", async () => {
    const { here, there, bob } = scene();
    const caller = new Caller("default", "ursula");
    here.send(caller, "q", "bob", ASK);
    answerInParts(there, bob, 2);
    expect((await caller.answer).result).toMatchObject(IN_PARTS);
  });
});
