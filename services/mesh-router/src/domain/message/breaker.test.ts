import { describe, expect, it } from "vitest";
import { BREAKER_FAILURES, BREAKER_OPEN_MS } from "../limits.ts";
import type { Session } from "../session/session.ts";
import { MessageRig, type RigReplica } from "./message-rig.fake.ts";

const HOUR = 3_600_000;

/** As many messages as open a breaker, none of which is acknowledged in time. Returns them. */
function open(rig: MessageRig, here: RigReplica, sender: Session, receiver: Session) {
  for (let i = 0; i < BREAKER_FAILURES; i += 1) here.send(sender, `slow${i}`, receiver.agentId);
  const { deliveries } = here.read(receiver);
  rig.pass(1_000);
  expect(here.outcomes(sender)).toEqual(Array(BREAKER_FAILURES).fill("expired"));
  here.send(sender, "spared", receiver.agentId);
  expect(here.read(sender).outcomes).toMatchObject([
    { outcome: "breaker_open", retryAfterMs: BREAKER_OPEN_MS },
  ]);
  return deliveries;
}

function scene(bobsCredit = 10_000) {
  const rig = new MessageRig();
  const [here] = rig.replicas as [RigReplica];
  return { rig, here, alice: here.agent("alice"), bob: here.agent("bob", bobsCredit) };
}

describe("a breaker", () => {
  it("closes when its receiver acknowledges something, however late", () => {
    const { rig, here, alice, bob } = scene();
    const [late] = open(rig, here, alice, bob);
    here.ack(bob, late?.deliveryId ?? "");
    here.send(alice, "next", "bob");
    here.take(bob);
    expect(here.outcomes(alice)).toEqual(["delivered"]);
  });

  it("closes when its receiver answers something, however late", () => {
    const { rig, here, alice, bob } = scene();
    const [late] = open(rig, here, alice, bob);
    here.send(bob, "answer", "", { inReplyTo: late?.deliveryId ?? "" });
    here.send(alice, "next", "bob");
    here.take(bob);
    expect(here.outcomes(alice)).toEqual(["delivered"]);
  });

  it("lets one message through after its pause, and closes when that is acknowledged", () => {
    const { rig, here, alice, bob } = scene();
    open(rig, here, alice, bob);
    rig.pass(BREAKER_OPEN_MS);
    here.send(alice, "probe", "bob");
    here.send(alice, "too soon", "bob");
    expect(here.outcomes(alice)).toEqual(["breaker_open"]);
    here.take(bob);
    here.send(alice, "next", "bob");
    here.take(bob);
    expect(here.outcomes(alice)).toEqual(["delivered", "delivered"]);
  });

  it("stays open while its probes are not acknowledged", () => {
    const { rig, here, alice, bob } = scene();
    open(rig, here, alice, bob);
    for (let round = 0; round < 3; round += 1) {
      rig.pass(BREAKER_OPEN_MS);
      here.send(alice, `probe${round}`, "bob");
      here.read(bob);
      rig.pass(1_000);
      here.send(alice, `spared${round}`, "bob");
      expect(here.outcomes(alice)).toEqual(["expired", "breaker_open"]);
    }
  });

  it("is not held by a probe that never reached its receiver", () => {
    const { rig, here, alice, bob } = scene(BREAKER_FAILURES);
    open(rig, here, alice, bob);
    rig.pass(BREAKER_OPEN_MS);
    here.send(alice, "queued", "bob");
    rig.pass(1_000);
    expect(here.outcomes(alice)).toEqual(["expired"]);
    here.engine.grant(bob, 5);
    here.send(alice, "next", "bob");
    here.take(bob);
    expect(here.outcomes(alice)).toEqual(["delivered"]);
  });

  it("is not held by a probe that its sender took back", () => {
    const { rig, here, alice, bob } = scene();
    open(rig, here, alice, bob);
    rig.pass(BREAKER_OPEN_MS);
    here.send(alice, "probe", "bob", { expectsReply: true });
    here.engine.cancel(alice, "probe");
    here.read(bob);
    here.send(alice, "next", "bob");
    here.take(bob);
    expect(here.outcomes(alice)).toEqual(["cancelled", "delivered"]);
  });

  it("is held by a probe that hangs no longer than by its pause", () => {
    const { rig, here, alice, bob } = scene();
    open(rig, here, alice, bob);
    rig.pass(BREAKER_OPEN_MS);
    here.send(alice, "hangs", "bob", { timeoutMs: HOUR });
    here.read(bob);
    rig.pass(BREAKER_OPEN_MS);
    here.send(alice, "next", "bob");
    here.take(bob);
    expect(here.outcomes(alice)).toEqual(["delivered"]);
  });

  it("does not count what its receiver's stream has not written yet", () => {
    const { rig, here, alice, bob } = scene();
    for (let i = 0; i < 2 * BREAKER_FAILURES; i += 1) here.send(alice, `unwritten${i}`, "bob");
    rig.pass(1_000);
    expect(here.outcomes(alice)).toEqual(Array(2 * BREAKER_FAILURES).fill("expired"));
    here.send(alice, "next", "bob");
    here.take(bob);
    expect(here.outcomes(alice)).toEqual(["delivered"]);
  });

  it("does not count what its receiver cannot acknowledge, having no stream", () => {
    const { rig, here, alice, bob } = scene();
    for (let i = 0; i < 2 * BREAKER_FAILURES; i += 1) here.send(alice, `written${i}`, "bob");
    here.read(bob);
    bob.state = "detached";
    rig.pass(1_000);
    expect(here.outcomes(alice)).toEqual(Array(2 * BREAKER_FAILURES).fill("expired"));
    here.send(alice, "waits", "bob");
    expect(here.outcomes(alice)).toEqual([]);
    bob.state = "connected";
    here.engine.restart(bob, 10);
    here.take(bob);
    expect(here.outcomes(alice)).toEqual(["delivered"]);
  });

  it("counts only what is not acknowledged in a row", () => {
    const { rig, here, alice, bob } = scene();
    for (let i = 0; i < 3 * BREAKER_FAILURES; i += 1) {
      here.send(alice, `slow${i}`, "bob");
      here.read(bob);
      rig.pass(1_000);
      here.send(alice, `well${i}`, "bob", { expectsReply: true });
      const [request] = here.read(bob).deliveries;
      here.send(bob, `answer${i}`, "", { inReplyTo: request?.deliveryId ?? "" });
      here.take(alice);
    }
    here.send(alice, "next", "bob");
    here.take(bob);
    expect(here.outcomes(alice)).toEqual(["delivered"]);
  });
});

describe("the breaker of an asker", () => {
  it("does not count parts of a reply that it has not read yet", () => {
    const { rig, here, alice, bob } = scene();
    here.send(alice, "q", "bob", { expectsReply: true });
    const [question] = here.take(bob);
    for (let part = 0; part < 2 * BREAKER_FAILURES; part += 1) {
      here.send(bob, `part${part}`, "", { inReplyTo: question?.deliveryId ?? "", more: true });
    }
    expect(here.read(alice).deliveries).toHaveLength(2 * BREAKER_FAILURES);
    rig.pass(1_000);
    here.outcomes(bob);
    here.send(bob, "next", "alice");
    here.take(alice);
    expect(here.outcomes(bob)).toEqual(["delivered"]);
  });
});

describe("a breaker of an agent at another replica", () => {
  function far() {
    const rig = new MessageRig(["a", "b"]);
    const [here, there] = rig.replicas as [RigReplica, RigReplica];
    const [alice, bob] = [here.agent("alice"), there.agent("bob")];
    let asked = 0;
    /** Asks a question, which is acknowledged, and perhaps answered. Returns its outcome. */
    const ask = (isAnswered: boolean): string[] => {
      asked += 1;
      here.send(alice, `q${asked}`, "bob", { expectsReply: true });
      for (const { deliveryId } of there.take(bob)) {
        if (isAnswered) there.send(bob, `r${asked}`, "", { inReplyTo: deliveryId });
      }
      if (!isAnswered) rig.pass(1_000);
      const { deliveries, outcomes } = here.read(alice);
      for (const { deliveryId } of deliveries) here.ack(alice, deliveryId);
      there.read(bob);
      return outcomes.map(({ outcome }) => outcome);
    };
    return { rig, here, there, alice, bob, ask };
  }

  it("does not count answers that come too late to requests that were acknowledged", () => {
    const { ask } = far();
    for (let round = 0; round < 2 * BREAKER_FAILURES; round += 1) {
      expect(ask(false)).toEqual(["expired"]);
      expect(ask(true)).toEqual(["delivered"]);
    }
    for (let round = 0; round < 2 * BREAKER_FAILURES; round += 1) ask(false);
    expect(ask(true)).toEqual(["delivered"]);
  });

  it("is judged there: the sender learns that it is open, and the next word closes it", () => {
    const { rig, here, there, alice, bob } = far();
    for (let i = 0; i < BREAKER_FAILURES; i += 1) here.send(alice, `slow${i}`, "bob");
    const [late] = there.read(bob).deliveries;
    rig.pass(1_000);
    expect(here.outcomes(alice)).toEqual(Array(BREAKER_FAILURES).fill("expired"));
    here.send(alice, "spared", "bob");
    expect(here.read(alice).outcomes).toMatchObject([
      { outcome: "breaker_open", retryAfterMs: BREAKER_OPEN_MS },
    ]);
    there.ack(bob, late?.deliveryId ?? "");
    here.send(alice, "next", "bob");
    there.take(bob);
    expect(here.outcomes(alice)).toEqual(["delivered"]);
  });

  it("counts nothing that never reached it", () => {
    const rig = new MessageRig(["a", "b"]);
    const [here, there] = rig.replicas as [RigReplica, RigReplica];
    const [alice, bob] = [here.agent("alice"), there.agent("bob", 0)];
    for (let i = 0; i < 2 * BREAKER_FAILURES; i += 1) here.send(alice, `queued${i}`, "bob");
    rig.pass(1_000);
    expect(here.outcomes(alice)).toEqual(Array(2 * BREAKER_FAILURES).fill("expired"));
    there.engine.grant(bob, 10);
    here.send(alice, "next", "bob");
    there.take(bob);
    expect(here.outcomes(alice)).toEqual(["delivered"]);
  });
});
