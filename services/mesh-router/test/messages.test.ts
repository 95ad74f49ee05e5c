import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcomeName, type TestAgent } from "./_agent.ts";
import { MeshFixture, type RunningRouter } from "./_router.ts";

let fixture: MeshFixture;
let router: RunningRouter;

beforeAll(async () => {
  fixture = await MeshFixture.create();
  router = await fixture.start();
});
afterAll(() => fixture.close());

const SHORT = { seconds: 0n, nanos: 60_000_000 };

async function outcome(agent: TestAgent, messageId: string): Promise<string> {
  return outcomeName(await agent.outcomeOf(messageId));
}

function ack(agent: TestAgent, ...deliveryIds: string[]): void {
  agent.send({ acks: deliveryIds.map((deliveryId) => ({ deliveryId })) });
}

describe("a message", () => {
  it("is DELIVERED once its receiver acknowledged it, with the sender's identity from its token", async () => {
    const alice = await router.agent("alice");
    const bob = await router.agent("bob");
    const postedAtS = Math.floor(Date.now() / 1_000);
    alice.post("m1", "bob", { subject: "greeting", traceparent: "00-trace" });
    const delivery = await bob.delivery();
    expect(delivery).toMatchObject({
      fromPrincipalId: "alice",
      subject: "greeting",
      expectsReply: false,
      inReplyTo: "",
      traceparent: "00-trace",
    });
    expect(new TextDecoder().decode(delivery.payload?.data)).toBe("m1");
    expect(Number(delivery.timeout?.seconds)).toBeGreaterThanOrEqual(28);
    expect(Number(delivery.acceptTime?.seconds)).toBeGreaterThanOrEqual(postedAtS);
    expect(Number(delivery.acceptTime?.seconds)).toBeLessThanOrEqual(Date.now() / 1_000);
    expect(alice.outcomes).toEqual([]);
    ack(bob, delivery.deliveryId);
    expect(await outcome(alice, "m1")).toBe("DELIVERED");
    ack(bob, delivery.deliveryId);
    alice.post("m2", "bob");
    ack(bob, (await bob.delivery(1)).deliveryId);
    expect(await outcome(alice, "m2")).toBe("DELIVERED");
    expect(alice.outcomes).toHaveLength(2);
  });

  it("is NO_SUCH_AGENT without a session, also in another namespace", async () => {
    const alice = await router.agent("alice");
    await router.agent("elsewhere", { namespace: "team-b" });
    alice.post("m1", "nobody");
    alice.post("m2", "elsewhere");
    expect(await outcome(alice, "m1")).toBe("NO_SUCH_AGENT");
    expect(await outcome(alice, "m2")).toBe("NO_SUCH_AGENT");
  });

  it("is EXPIRED when nobody acknowledges it in time, with or without credit", async () => {
    const alice = await router.agent("alice");
    const bob = await router.agent("bob");
    await router.agent("stingy", { messageCredit: 0 });
    alice.post("m1", "bob", { timeout: SHORT });
    alice.post("m2", "stingy", { timeout: SHORT });
    expect(await outcome(alice, "m1")).toBe("EXPIRED");
    expect(await outcome(alice, "m2")).toBe("EXPIRED");
    ack(bob, (await bob.delivery()).deliveryId);
    alice.post("m3", "nobody");
    await alice.outcomeOf("m3");
    expect(alice.outcomes).toHaveLength(3);
  });

  it("is OVERLOADED with a time to wait when the receiver's queue is full", async () => {
    const alice = await router.agent("alice");
    const stingy = await router.agent("stingy", { messageCredit: 0 });
    const send = (from: number, to: number) =>
      alice.send({
        sends: Array.from({ length: to - from }, (_, i) => ({
          messageId: `q${from + i}`,
          toAgentId: "stingy",
        })),
      });
    send(0, 500);
    send(500, 1_000);
    alice.post("one-too-many", "stingy");
    const overloaded = await alice.outcomeOf("one-too-many");
    expect(outcomeName(overloaded)).toBe("OVERLOADED");
    expect(overloaded.retryAfter?.nanos).toBeGreaterThan(0);
    expect(overloaded.message).not.toBe("");
    stingy.send({ credit: { messages: 1_000 } });
    await waitFor(() => stingy.deliveries.length === 1_000, { what: "the queue" });
    ack(stingy, ...stingy.deliveries.slice(0, 500).map(({ deliveryId }) => deliveryId));
    ack(stingy, ...stingy.deliveries.slice(500).map(({ deliveryId }) => deliveryId));
    await waitFor(() => alice.outcomes.length === 1_001, { what: "every outcome" });
  });

  it("is REFUSED to its own sender, without a receiver, or with an id that is pending", async () => {
    const alice = await router.agent("alice");
    await router.agent("bob");
    alice.post("self", "alice");
    alice.post("none", "");
    alice.post("twice", "bob");
    alice.post("twice", "bob");
    alice.post("reply", "", { inReplyTo: "no-such-delivery" });
    for (const messageId of ["self", "none", "twice", "reply"]) {
      expect(await outcome(alice, messageId)).toBe("REFUSED");
      expect((await alice.outcomeOf(messageId)).message).not.toBe("");
    }
  });

  it("waits for credit and keeps the order of its sender", async () => {
    const alice = await router.agent("alice");
    const bob = await router.agent("bob", { messageCredit: 2 });
    bob.autoAck = true;
    for (let i = 0; i < 40; i += 1) alice.post(`m${i}`, "bob");
    await waitFor(() => alice.outcomes.length === 2, { what: "what the credit allows" });
    expect(bob.deliveries).toHaveLength(2);
    bob.send({ credit: { messages: 5 } });
    await waitFor(() => bob.deliveries.length === 7, { what: "five more" });
    bob.send({ credit: { messages: 100 } });
    await waitFor(() => alice.outcomes.length === 40, { what: "all outcomes" });
    const order = bob.deliveries.map(({ payload }) => new TextDecoder().decode(payload?.data));
    expect(order).toEqual(Array.from({ length: 40 }, (_, i) => `m${i}`));
  });

  it("waits for a detached receiver and is settled when that is gone", async () => {
    const alice = await router.agent("alice");
    const bob = await router.agent("bob", { messageCredit: 1 });
    const orchestrator = await router.orchestrator();
    bob.peer.break();
    await orchestrator.untilState("bob", bob.epoch, 2);
    alice.post("m1", "bob");
    alice.post("m2", "bob");
    const back = await router.agent("bob", { resumeToken: bob.resumeToken, messageCredit: 1 });
    const { deliveryId } = await back.delivery();
    back.send({ goodbye: {} });
    expect(await outcome(alice, "m1")).toBe("EXPIRED");
    expect(await outcome(alice, "m2")).toBe("NO_SUCH_AGENT");
    expect(deliveryId).not.toBe("");
  });
});

describe("a request", () => {
  it("is DELIVERED with its reply, whose own outcome the replier learns", async () => {
    const alice = await router.agent("alice");
    const bob = await router.agent("bob");
    alice.post("ask", "bob", { expectsReply: true, subject: "question" });
    const question = await bob.delivery();
    expect(question.expectsReply).toBe(true);
    ack(bob, question.deliveryId);
    bob.post("answer", "", { inReplyTo: question.deliveryId });
    const reply = await alice.delivery();
    expect(reply).toMatchObject({ inReplyTo: "ask", fromPrincipalId: "bob", expectsReply: false });
    expect(new TextDecoder().decode(reply.payload?.data)).toBe("answer");
    expect(await outcome(alice, "ask")).toBe("DELIVERED");
    ack(alice, reply.deliveryId);
    expect(await outcome(bob, "answer")).toBe("DELIVERED");
    bob.post("again", "", { inReplyTo: question.deliveryId });
    expect(await outcome(bob, "again")).toBe("REFUSED");
    expect(alice.outcomes).toHaveLength(1);
  });

  it("is EXPIRED when it was acknowledged but not answered in time", async () => {
    const alice = await router.agent("alice");
    const bob = await router.agent("bob");
    alice.post("ask", "bob", { expectsReply: true, timeout: SHORT });
    const question = await bob.delivery();
    ack(bob, question.deliveryId);
    expect(await outcome(alice, "ask")).toBe("EXPIRED");
    bob.post("late", "", { inReplyTo: question.deliveryId });
    expect(await outcome(bob, "late")).toBe("REFUSED");
    expect(alice.deliveries).toEqual([]);
  });

  it("can be a reply itself: a conversation goes to and fro", async () => {
    const alice = await router.agent("alice");
    const bob = await router.agent("bob");
    alice.post("ask", "bob", { expectsReply: true });
    const question = await bob.delivery();
    bob.post("counter", "", { inReplyTo: question.deliveryId, expectsReply: true });
    const counter = await alice.delivery();
    expect(counter).toMatchObject({ inReplyTo: "ask", expectsReply: true });
    alice.post("final", "", { inReplyTo: counter.deliveryId });
    const final = await bob.delivery(1);
    expect(final.inReplyTo).toBe("counter");
    expect(await outcome(bob, "counter")).toBe("DELIVERED");
  });
});
