import { describe, expect, it } from "vitest";
import {
  ANY_OF_TRIES_MAX,
  BREAKER_FAILURES,
  BREAKER_OPEN_MS,
  CANDIDATES_MAX,
  MESSAGE_QUEUE_BYTES_MAX,
  MESSAGE_QUEUE_MAX,
} from "../limits.ts";
import type { Session } from "../session/session.ts";
import type { Letter } from "./letter.ts";
import { MessageRig, type RigReplica } from "./message-rig.fake.ts";

const TO_WRITERS: Partial<Letter> = { target: { kind: "capability", name: "write" } };

const ASK_LONG: Partial<Letter> = { expectsReply: true, timeoutMs: 60_000 };

function writers(replica: RigReplica, agentIds: readonly string[]): void {
  for (const agentId of agentIds) {
    replica.agents.put({ namespace: "default", agentId, capabilities: ["write"] });
  }
}

/** Makes an agent one that reads and says nothing. */
function sicken(rig: MessageRig, where: RigReplica, agent: Session): void {
  const tester = where.agent(`tester-of-${agent.agentId}`);
  for (let i = 0; i < BREAKER_FAILURES; i += 1) where.send(tester, `slow${i}`, agent.agentId);
  where.read(agent);
  rig.pass(1_000);
}

const BIG = { payload: new Uint8Array(MESSAGE_QUEUE_BYTES_MAX / 4) };

/** Leaves no room for a big message at an agent, which has less in hand than a busy one. */
function stuff(where: RigReplica, full: Session, busy: Session): void {
  const filler = where.agent(`filler-of-${full.agentId}`);
  full.credit = 0;
  for (let i = 0; i < 4; i += 1) where.send(filler, `f${i}`, full.agentId, BIG);
  full.credit = 1;
  for (let i = 0; i < 6; i += 1) where.send(filler, `busy${i}`, busy.agentId, ASK_LONG);
  where.take(busy);
}

/** Two replicas; all writers are known to the first, where alice is. */
function far() {
  const rig = new MessageRig(["a", "b"]);
  const [here, there] = rig.replicas as [RigReplica, RigReplica];
  return { rig, here, there, alice: here.agent("alice") };
}

describe("a message to any one of several", () => {
  it("goes to a busy member that acknowledges before an idle one whose breaker is open", () => {
    const rig = new MessageRig();
    const [here] = rig.replicas as [RigReplica];
    const [alice, sick, well] = [here.agent("alice"), here.agent("sick"), here.agent("well")];
    writers(here, ["sick", "well"]);
    sicken(rig, here, sick);
    here.send(alice, "busy", "well", ASK_LONG);
    here.take(well);
    for (let i = 0; i < 20; i += 1) here.send(alice, `m${i}`, "", TO_WRITERS);
    here.take(well);
    expect(here.outcomes(alice)).toEqual(Array(20).fill("delivered"));
  });

  it("asks a member whose breaker was open again after the pause", () => {
    const rig = new MessageRig();
    const [here] = rig.replicas as [RigReplica];
    const [alice, sick, well] = [here.agent("alice"), here.agent("sick"), here.agent("well")];
    writers(here, ["sick", "well"]);
    sicken(rig, here, sick);
    here.send(alice, "busy", "well", ASK_LONG);
    here.take(well);
    rig.pass(BREAKER_OPEN_MS);
    here.send(alice, "probe", "", TO_WRITERS);
    expect(here.take(sick)).toHaveLength(1);
    expect(here.outcomes(alice)).toEqual(["delivered"]);
  });

  it("finds the one that is well behind any number that are not", () => {
    const rig = new MessageRig();
    const [here] = rig.replicas as [RigReplica];
    const alice = here.agent("alice");
    const sick = Array.from({ length: 2 * CANDIDATES_MAX }, (_, i) => here.agent(`sick${i}`));
    for (const session of sick) session.state = "detached";
    const well = here.agent("well");
    writers(here, [...sick.map(({ agentId }) => agentId), "well"]);
    for (let i = 0; i < 40; i += 1) here.send(alice, `m${i}`, "", TO_WRITERS);
    here.take(well);
    expect(here.outcomes(alice)).toEqual(Array(40).fill("delivered"));
  });

  it("goes on to the next when a member's replica says that its breaker is open", () => {
    const { rig, here, there, alice } = far();
    const [sick, well] = [there.agent("sick"), there.agent("well")];
    writers(here, ["well", "sick"]);
    sicken(rig, there, sick);
    here.send(alice, "busy", "well", ASK_LONG);
    there.take(well);
    here.send(alice, "q", "", { ...TO_WRITERS, expectsReply: true });
    for (const { deliveryId } of there.take(well)) {
      there.send(well, "answer", "", { inReplyTo: deliveryId });
    }
    expect(here.read(alice)).toMatchObject({
      deliveries: [{ inReplyTo: "q" }],
      outcomes: [{ messageId: "q", outcome: "delivered" }],
    });
    // Whoever said so is spared as long as it asked for.
    here.send(alice, "second", "", TO_WRITERS);
    expect(there.read(sick).deliveries).toEqual([]);
    there.take(well);
    expect(here.outcomes(alice)).toEqual(["delivered"]);
  });

  it("goes on to the next when there is no room for it, within its time", () => {
    const { rig, here, there, alice } = far();
    const full = there.agent("full", 0);
    const filler = there.agent("filler");
    for (let i = 0; i < MESSAGE_QUEUE_MAX; i += 1) {
      there.send(filler, `f${i}`, "full", { timeoutMs: 60_000 });
    }
    const slow = here.agent("slow", 0);
    writers(here, ["slow", "full"]);
    here.send(alice, "m", "", TO_WRITERS);
    expect(full.inbox.size).toBe(MESSAGE_QUEUE_MAX);
    expect(slow.inbox.size).toBe(1);
    rig.pass(999);
    expect(here.outcomes(alice)).toEqual([]);
    rig.pass(1);
    expect(here.outcomes(alice)).toEqual(["expired"]);
    expect(slow.inbox.size).toBe(0);
  });

  it("goes to a busy member when the least loaded one's queue has no room for its size", () => {
    const rig = new MessageRig();
    const [here] = rig.replicas as [RigReplica];
    const [alice, full, busy] = [here.agent("alice"), here.agent("full"), here.agent("busy")];
    writers(here, ["full", "busy"]);
    stuff(here, full, busy);
    for (let i = 0; i < 4; i += 1) {
      here.send(alice, `m${i}`, "", { ...TO_WRITERS, ...BIG });
      here.take(busy);
    }
    expect(here.outcomes(alice)).toEqual(Array(4).fill("delivered"));
  });

  it("goes on past members without room for its size to one that has", () => {
    const { here, there, alice } = far();
    const gone = there.agent("gone");
    const [full, busy] = [here.agent("full"), here.agent("busy")];
    writers(here, ["gone", "full", "busy"]);
    stuff(here, full, busy);
    here.send(alice, "m", "", { ...TO_WRITERS, ...BIG });
    there.leave(gone);
    here.take(busy);
    expect(here.outcomes(alice)).toEqual(["delivered"]);
  });

  it("goes on to the next when a member goes before it was given it, at either replica", () => {
    const { here, there, alice } = far();
    const [near, distant, stays] = [
      here.agent("near"),
      there.agent("distant"),
      here.agent("stays"),
    ];
    writers(here, ["near", "distant", "stays"]);
    for (const id of ["busy", "busier"]) here.send(alice, id, "stays", ASK_LONG);
    here.take(stays);
    for (const [where, session] of [
      [here, near],
      [there, distant],
    ] as const) {
      here.send(alice, `to-${session.agentId}`, "", TO_WRITERS);
      where.leave(session);
    }
    const given = here.take(stays).map(({ messageId }) => messageId);
    expect(new Set(given)).toEqual(new Set(["to-near", "to-distant"]));
    expect(here.outcomes(alice)).toEqual(["delivered", "delivered"]);
  });

  it("is tried with a few, then has the last one's verdict", () => {
    const { rig, here, there, alice } = far();
    const names = Array.from({ length: 2 * ANY_OF_TRIES_MAX }, (_, i) => `sick${i}`);
    const sick = names.map((name) => there.agent(name));
    writers(here, names);
    for (const session of sick) sicken(rig, there, session);
    const asked: string[] = [];
    rig.onCarried = (item) => {
      if (item.kind === "message") asked.push(item.message.toAgentId);
    };
    here.send(alice, "m", "", TO_WRITERS);
    expect(here.outcomes(alice)).toEqual(["breaker_open"]);
    expect(new Set(asked).size).toBe(ANY_OF_TRIES_MAX);
    expect(asked).toHaveLength(ANY_OF_TRIES_MAX);
  });

  it("is not given to a second member once a first one had it", () => {
    const { rig, here, there, alice } = far();
    const first = there.agent("first");
    const second = here.agent("second");
    writers(here, ["first", "second"]);
    here.send(alice, "busy", "second", ASK_LONG);
    here.send(alice, "busier", "second", ASK_LONG);
    here.take(second);
    here.send(alice, "m", "", TO_WRITERS);
    expect(there.read(first).deliveries).toHaveLength(1);
    rig.pass(1_000);
    expect(here.outcomes(alice)).toEqual(["expired"]);
    expect(here.read(second).deliveries).toEqual([]);
  });
});

describe("a message to a topic", () => {
  it("goes to a member of a group that acknowledges before one whose breaker is open", () => {
    const rig = new MessageRig();
    const [here] = rig.replicas as [RigReplica];
    const [alice, sick, well] = [here.agent("alice"), here.agent("sick"), here.agent("well")];
    for (const agentId of ["sick", "well"]) {
      here.topics.add("default", { agentId, pattern: "t", group: "g", durable: false });
    }
    sicken(rig, here, sick);
    here.send(alice, "busy", "well", ASK_LONG);
    here.take(well);
    for (let i = 0; i < 20; i += 1) {
      here.send(alice, `m${i}`, "", { target: { kind: "topic", name: "t" } });
    }
    expect(here.take(well)).toHaveLength(20);
    expect(here.read(alice).outcomes).toMatchObject(
      Array.from({ length: 20 }, () => ({ outcome: "queued", receivers: 1, missed: 0 })),
    );
  });

  it("goes on to another member of a group, which has no copy yet, when a far one has no room", () => {
    const { rig, here, there, alice } = far();
    const [full, near, other] = [there.agent("full"), here.agent("near"), there.agent("other")];
    for (const agentId of ["full", "near"]) {
      here.topics.add("default", { agentId, pattern: "t", group: "g", durable: false });
    }
    here.topics.add("default", { agentId: "other", pattern: "t", group: "", durable: false });
    const filler = there.agent("filler");
    full.credit = 0;
    for (let i = 0; i <= MESSAGE_QUEUE_MAX; i += 1) there.send(filler, `f${i}`, "full");
    for (let i = 0; i < 6; i += 1) here.send(alice, `busy${i}`, "near", ASK_LONG);
    here.take(near);
    here.send(alice, "one", "", { target: { kind: "topic", name: "t" } });
    expect(here.take(near).map(({ messageId }) => messageId)).toEqual(["one"]);
    expect(there.take(other).map(({ messageId }) => messageId)).toEqual(["one"]);
    for (const agentId of ["full", "near"]) {
      here.topics.add("default", { agentId, pattern: "u", group: "g", durable: false });
    }
    here.topics.add("default", { agentId: "near", pattern: "u", group: "h", durable: false });
    rig.pass(1_000);
    here.send(alice, "two", "", { target: { kind: "topic", name: "u" } });
    expect(here.take(near).map(({ messageId }) => messageId)).toEqual(["two"]);
  });

  it("goes to a member of a group whose queue has room for its size", () => {
    const rig = new MessageRig();
    const [here] = rig.replicas as [RigReplica];
    const [alice, full, busy] = [here.agent("alice"), here.agent("full"), here.agent("busy")];
    for (const agentId of ["full", "busy"]) {
      here.topics.add("default", { agentId, pattern: "t", group: "g", durable: false });
    }
    stuff(here, full, busy);
    here.send(alice, "m", "", { target: { kind: "topic", name: "t" }, ...BIG });
    expect(here.take(busy)).toHaveLength(1);
    expect(here.read(alice).outcomes).toMatchObject([{ receivers: 1, missed: 0 }]);
  });
});
