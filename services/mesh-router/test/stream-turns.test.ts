/** A stream that ends in order loses nothing: what was under way goes on over the next one. */
import { DeliveryOutcome } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcomeName, type TestAgent } from "./_agent.ts";
import { MeshFixture, type RunningRouter } from "./_router.ts";

let fixture: MeshFixture;
let router: RunningRouter;

beforeAll(async () => {
  fixture = await MeshFixture.create();
  router = await fixture.start({ routerId: "turns" });
});
afterAll(() => fixture.close());

/** Two agents, of which the first has sent `q` and ended its stream in order. */
async function turned(name: string) {
  const sender = await router.agent(`${name}-sender`);
  const receiver = await router.agent(`${name}-receiver`);
  sender.post("q", `${name}-receiver`);
  const { deliveryId } = await receiver.delivery();
  sender.peer.endSending();
  await sender.peer.untilEnded();
  return { sender, receiver, deliveryId, receiverId: `${name}-receiver` };
}

/** What the next hello presents. */
function endOf({ resumeToken, complete }: TestAgent) {
  return { resumeToken, complete };
}

describe("a stream whose requests end", () => {
  it("ends in order, and the next one says that its session is held", async () => {
    const { sender } = await turned("orderly");
    expect(sender.complete).toMatch(/.{36}/);
    expect(sender.welcome).toMatchObject({ held: false, continued: false });
    const next = await router.agent("orderly-sender", endOf(sender));
    expect(next.welcome).toMatchObject({ resumed: true, held: true, continued: true });
    expect(next.complete).toBe("");
  });

  it("is not known to who does not name its end", async () => {
    const { sender } = await turned("nameless");
    const { resumeToken } = sender;
    const next = await router.agent("nameless-sender", { resumeToken, complete: "another" });
    expect(next.welcome).toMatchObject({ resumed: true, held: true, continued: false });
  });

  it("is still known after a try of which its agent got nothing", async () => {
    const { sender, receiver, deliveryId, receiverId } = await turned("retried");
    const lost = await router.agent("retried-sender", endOf(sender));
    lost.peer.break();
    await lost.peer.untilEnded();
    const next = await router.agent("retried-sender", endOf(sender));
    expect(next.welcome).toMatchObject({ continued: true });
    next.post("q", receiverId);
    expect(await next.outcomeOf("q")).toMatchObject({ reason: "MESSAGE_ID_PENDING" });
    receiver.ack(deliveryId);
    await waitFor(() => next.outcomes.length === 2, { what: "the outcome itself" });
    expect(receiver.deliveries).toHaveLength(1);
  });

  it("is not continued when such a try took an outcome along", async () => {
    const { sender, receiver, deliveryId } = await turned("robbed");
    receiver.ack(deliveryId);
    receiver.post("after", "nobody-at-all");
    await receiver.outcomeOf("after");
    const lost = await router.agent("robbed-sender", endOf(sender));
    await lost.outcomeOf("q");
    lost.peer.break();
    await lost.peer.untilEnded();
    const next = await router.agent("robbed-sender", endOf(sender));
    expect(next.welcome).toMatchObject({ held: true, continued: false });
  });

  it("leaves its messages under way: sent again they are pending, and have their outcome", async () => {
    const { sender, receiver, deliveryId, receiverId } = await turned("pending");
    const next = await router.agent("pending-sender", endOf(sender));
    next.post("q", receiverId);
    expect(await next.outcomeOf("q")).toMatchObject({ reason: "MESSAGE_ID_PENDING" });
    receiver.ack(deliveryId);
    await waitFor(() => next.outcomes.length === 2, { what: "the outcome itself" });
    expect(outcomeName(next.outcomes[1])).toBe("DELIVERED");
  });

  it("has the outcomes that came meanwhile on the next one, and a message sent again is not taken twice", async () => {
    const { sender, receiver, deliveryId, receiverId } = await turned("away");
    receiver.ack(deliveryId);
    // Behind the acknowledgement: once this one has its outcome, so has that.
    receiver.post("after", "nobody-at-all");
    await receiver.outcomeOf("after");
    const next = await router.agent("away-sender", endOf(sender));
    next.post("q", receiverId);
    next.post("last", receiverId);
    await waitFor(() => receiver.deliveries.length > 1, { what: "the message behind it" });
    expect(next.outcomes).toMatchObject([{ messageId: "q", outcome: DeliveryOutcome.DELIVERED }]);
    receiver.ack(receiver.deliveries[1]?.deliveryId ?? "");
    await next.outcomeOf("last");
    expect(receiver.deliveries).toHaveLength(2);
  });
});

describe("a request whose reply comes between two streams", () => {
  it("is answered on the next one, and sent again it is not taken twice", async () => {
    const asker = await router.agent("gap-asker");
    const replier = await router.agent("gap-replier");
    asker.post("q", "gap-replier", { expectsReply: true });
    const { deliveryId } = await replier.delivery();
    asker.peer.endSending();
    await asker.peer.untilEnded();
    replier.post("r", "", { inReplyTo: deliveryId });
    replier.ack(deliveryId);
    // Behind the reply: once this one has its outcome, the reply waits for its asker.
    replier.post("after", "nobody-at-all");
    await replier.outcomeOf("after");
    const next = await router.agent("gap-asker", endOf(asker));
    next.post("q", "gap-replier", { expectsReply: true });
    next.post("last", "gap-replier");
    expect(await next.delivery()).toMatchObject({ inReplyTo: "q" });
    await waitFor(() => replier.deliveries.length > 1, { what: "the message behind it" });
    expect(replier.deliveries).toHaveLength(2);
    expect(new TextDecoder().decode(replier.deliveries[1]?.payload?.data)).toBe("last");
  });

  it("may have its id used anew", async () => {
    const { sender, receiver, deliveryId, receiverId } = await turned("anew");
    receiver.ack(deliveryId);
    receiver.post("after", "nobody-at-all");
    await receiver.outcomeOf("after");
    const next = await router.agent("anew-sender", endOf(sender));
    next.post("q", receiverId);
    await next.outcomeOf("q");
    next.post("q", receiverId);
    await waitFor(() => receiver.deliveries.length > 1, { what: "the new message" });
  });
});

describe("a stream that breaks", () => {
  it("is not complete", async () => {
    const agent = await router.agent("broken");
    agent.peer.break();
    await agent.peer.untilEnded();
    expect(agent.complete).toBe("");
  });
});

describe("a session that another process held", () => {
  it("is resumed, and not held: what it had in hand is gone", async () => {
    const first = await fixture.start({ routerId: "before", reconnectWindowMs: 20_000 });
    const agent = await first.agent("restarted");
    await first.stop();
    const again = await fixture.start({ routerId: "before" });
    expect(agent.complete).not.toBe("");
    const next = await again.agent("restarted", endOf(agent));
    expect(next.welcome).toMatchObject({ resumed: true, held: false, continued: false });
    await again.stop();
  });
});
