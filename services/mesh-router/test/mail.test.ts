import { randomUUID } from "node:crypto";
import { AckKind, DeliveryClass } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcomeName, type TestAgent } from "./_agent.ts";
import { MeshFixture, type RunningRouter } from "./_router.ts";

let fixture: MeshFixture;
let router: RunningRouter;

beforeAll(async () => {
  fixture = await MeshFixture.create();
  router = await fixture.start({ redeliveryInitialMs: 30, mailAttemptsMax: 3, mailboxMax: 20 });
});
afterAll(() => fixture.close());

const body = (text: string) => ({
  contentType: "text/plain",
  data: new TextEncoder().encode(text),
});
const seconds = (value: number) => ({ seconds: BigInt(value), nanos: 0 });
/** A name that no other test uses. */
const name = (word: string) => `${word}-${randomUUID().slice(0, 8)}`;

async function outcome(agent: TestAgent, messageId: string): Promise<string> {
  return outcomeName(await agent.outcomeOf(messageId));
}

async function pair(options: { readonly messageCredit?: number } = {}) {
  const [from, to] = [name("alice"), name("bob")];
  const alice = await router.agent(from);
  const bob = await router.agent(to, options);
  return { alice, bob, from, to };
}

describe("a durable message", () => {
  it("is QUEUED once committed, delivered with all it needs, and gone once it is DONE", async () => {
    const { alice, bob, from, to } = await pair();
    alice.mail("m1", to, { subject: "note", traceparent: "00-trace", ackWait: seconds(7) });
    const queued = await alice.outcomeOf("m1");
    expect(outcomeName(queued)).toBe("QUEUED");
    expect(queued).toMatchObject({ position: 1n, duplicate: false, reason: "" });
    const delivery = await bob.delivery();
    expect(delivery).toMatchObject({
      fromPrincipalId: from,
      subject: "note",
      traceparent: "00-trace",
      messageId: "m1",
      attempt: 1,
      generation: 0,
      ackWait: { seconds: 7n },
    });
    expect(new TextDecoder().decode(delivery.payload?.data)).toBe("m1");
    expect(Number(delivery.timeout?.seconds)).toBeGreaterThan(86_000);
    bob.ack(delivery.deliveryId);
    await fixture.untilMail(0);
  });

  it("is stored once under its id; the same id with another body is REFUSED, also after its end", async () => {
    const { alice, bob, to } = await pair();
    alice.mail("m1", to);
    await alice.outcomeOf("m1");
    alice.outcomes.length = 0;
    alice.mail("m1", to);
    expect(await alice.outcomeOf("m1")).toMatchObject({ duplicate: true, outcome: 6 });
    bob.ack((await bob.delivery()).deliveryId);
    await fixture.untilMail(0);
    alice.outcomes.length = 0;
    alice.mail("m1", to, { payload: body("another") });
    const refused = await alice.outcomeOf("m1");
    expect([outcomeName(refused), refused.reason]).toEqual(["REFUSED", "MESSAGE_ID_REUSED"]);
    expect(bob.mailIds).toEqual(["m1"]);
    const rows = await fixture.sql("SELECT FROM mail");
    expect(rows).toHaveLength(0);
  });

  it("finds an id that was stored yesterday, in that day's partition or where there is none", async () => {
    const today = "(now() AT TIME ZONE 'utc')::date";
    const { alice, bob, to } = await pair();
    for (const [at, place] of ["own", "default"].entries()) {
      const [known, fresh] = [`${place}-old`, `${place}-new`];
      alice.mail(known, to);
      bob.ack((await bob.delivery(2 * at)).deliveryId);
      await fixture.untilMail(0);
      if (place === "default") {
        await fixture.sql(`DO $$ BEGIN
          EXECUTE format('DROP TABLE message_ids_%s', to_char(${today} - 1, 'YYYYMMDD'));
        END $$`);
      }
      await fixture.sql(`DELETE FROM message_ids WHERE day < ${today}`);
      await fixture.sql("UPDATE message_ids SET day = day - 1");
      alice.outcomes.length = 0;
      alice.mail(known, to);
      alice.mail(fresh, to);
      expect(await alice.outcomeOf(known)).toMatchObject({ duplicate: true });
      expect(await outcome(alice, fresh)).toBe("QUEUED");
      bob.ack((await bob.delivery(2 * at + 1)).deliveryId);
      expect(bob.mailIds.slice(2 * at)).toEqual([known, fresh]);
      await fixture.untilMail(0);
    }
  });

  it("is NO_SUCH_AGENT for one that never was, waits for one that is away, and is there at its return", async () => {
    const { alice, bob, to } = await pair();
    alice.mail("m0", name("nobody"));
    expect(await outcome(alice, "m0")).toBe("NO_SUCH_AGENT");
    bob.send({ goodbye: {} });
    await bob.peer.untilEnded();
    for (let i = 1; i <= 5; i += 1) alice.mail(`m${i}`, to);
    expect(await outcome(alice, "m5")).toBe("QUEUED");
    const back = await router.agent(to);
    await waitFor(() => back.mailIds.length === 5, { what: "the mail" });
    expect(back.mailIds).toEqual(["m1", "m2", "m3", "m4", "m5"]);
    for (const { deliveryId } of back.deliveries) back.ack(deliveryId);
    await fixture.untilMail(0);
  });

  it("is OVERLOADED when the mailbox is full, present or absent", async () => {
    const { alice, bob, to } = await pair({ messageCredit: 0 });
    for (let i = 0; i < 21; i += 1) alice.mail(`m${i}`, to);
    const over = await alice.outcomeOf("m20");
    expect(outcomeName(over)).toBe("OVERLOADED");
    expect(over.retryAfter?.seconds).toBe(1n);
    expect((await alice.outcomeOf("m19")).position).toBe(20n);
    bob.send({ goodbye: {} });
    await bob.peer.untilEnded();
    alice.mail("m21", to);
    expect(await outcome(alice, "m21")).toBe("OVERLOADED");
    const back = await router.agent(to);
    await waitFor(() => back.deliveries.length === 20, { what: "the mail" });
    for (const { deliveryId } of back.deliveries) back.ack(deliveryId);
    back.autoAck = true;
    await fixture.untilMail(0);
    alice.mail("m22", to);
    expect(await outcome(alice, "m22")).toBe("QUEUED");
    await fixture.untilMail(0);
  });

  it("is committed with all that its frame brings", async () => {
    const { alice, bob, to } = await pair();
    bob.send({ goodbye: {} });
    await bob.peer.untilEnded();
    const sends = Array.from({ length: 20 }, (_, at) => ({
      ...{ messageId: `f${at}`, toAgentId: to, deliveryClass: DeliveryClass.DURABLE },
      payload: body("together"),
    }));
    alice.send({ sends });
    expect(await outcome(alice, "f19")).toBe("QUEUED");
    const commits = await fixture.sql("SELECT DISTINCT xmin FROM mail");
    expect(commits).toHaveLength(1);
    const back = await router.agent(to);
    await waitFor(() => back.deliveries.length === 20, { what: "the mail" });
    for (const { deliveryId } of back.deliveries) back.ack(deliveryId);
    await fixture.untilMail(0);
  });

  it("is REFUSED when it expects a reply", async () => {
    const { alice, to } = await pair();
    alice.mail("m1", to, { expectsReply: true });
    expect(await alice.outcomeOf("m1")).toMatchObject({ outcome: 5, reason: "NOT_DURABLE" });
  });

  it("waits for credit, in order, and holds up no other pair", async () => {
    const { alice, bob, to } = await pair({ messageCredit: 2 });
    for (let i = 0; i < 10; i += 1) alice.mail(`m${i}`, to);
    await alice.outcomeOf("m9");
    await waitFor(() => bob.deliveries.length === 2, { what: "what the credit allows" });
    bob.send({ credit: { messages: 100 } });
    await waitFor(() => bob.deliveries.length === 10, { what: "the rest" });
    expect(bob.mailIds).toEqual(Array.from({ length: 10 }, (_, i) => `m${i}`));
    for (const { deliveryId } of bob.deliveries) bob.ack(deliveryId);
    await fixture.untilMail(0);
  });
});

describe("a delivery that fails", () => {
  it("comes again with what followed it, in order, under a new generation", async () => {
    const { alice, bob, to } = await pair();
    const carol = await router.agent(name("carol"));
    for (let i = 0; i < 3; i += 1) alice.mail(`m${i}`, to);
    carol.mail("c0", to);
    await waitFor(() => bob.deliveries.length === 4, { what: "the first tries" });
    const [first, second] = bob.deliveries.filter(({ messageId }) => messageId.startsWith("m"));
    bob.ack(first?.deliveryId ?? "", AckKind.RETRY, "not now");
    await waitFor(() => bob.deliveries.length === 7, { what: "the second tries" });
    const again = bob.deliveries.slice(4);
    expect(again.map(({ messageId }) => messageId)).toEqual(["m0", "m1", "m2"]);
    expect(again.map(({ attempt }) => attempt)).toEqual([2, 1, 1]);
    expect(again.map(({ generation }) => generation)).toEqual([1, 1, 1]);
    // A word about a void delivery changes nothing.
    bob.ack(second?.deliveryId ?? "");
    const carols = bob.deliveries.find(({ messageId }) => messageId === "c0");
    bob.ack(carols?.deliveryId ?? "");
    await fixture.untilMail(3);
    for (const { deliveryId } of again) bob.ack(deliveryId);
    await fixture.untilMail(0);
  });

  it("fails by silence", async () => {
    const { alice, bob, to } = await pair();
    alice.mail("m1", to, { ackWait: seconds(1) });
    expect(await bob.delivery(1)).toMatchObject({ messageId: "m1", attempt: 2, generation: 1 });
    bob.ack((await bob.delivery()).deliveryId);
    await fixture.untilMail(1);
    bob.ack((await bob.delivery(1)).deliveryId);
    await fixture.untilMail(0);
  });

  it("is a dead letter after its attempts; the next message of the pair goes on", async () => {
    const { alice, bob, from, to } = await pair();
    alice.mail("poison", to);
    alice.mail("next", to);
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      const delivery = await waitFor(
        () => bob.deliveries.find((d) => d.messageId === "poison" && d.attempt === attempt),
        { what: `attempt ${attempt}` },
      );
      bob.ack(delivery.deliveryId, AckKind.RETRY, `failed ${attempt}`);
    }
    const next = await waitFor(
      () => bob.deliveries.find((d) => d.messageId === "next" && d.generation === 3),
      { what: "the next message" },
    );
    bob.ack(next.deliveryId);
    await fixture.untilMail(0);
    const admin = router.deadMessages(await fixture.identity.token({ sub: "admin" }));
    const { deadMessages } = await admin.listDeadMessages({ filter: { toAgentId: to } });
    expect(deadMessages).toMatchObject([
      { messageId: "poison", fromPrincipalId: from, reason: "ATTEMPTS", attempts: 3 },
    ]);
    expect(deadMessages[0]?.message).toBe("failed 3");
  });

  it("counts for a receiver that is lost while it works, and not for one that says goodbye", async () => {
    const { alice, bob, to } = await pair();
    alice.mail("m1", to);
    await bob.delivery();
    const second = await router.agent(to);
    expect(await second.delivery()).toMatchObject({ messageId: "m1", attempt: 2 });
    second.send({ goodbye: {} });
    await second.peer.untilEnded();
    const third = await router.agent(to);
    expect(await third.delivery()).toMatchObject({ messageId: "m1", attempt: 2 });
    third.ack((await third.delivery()).deliveryId);
    await fixture.untilMail(0);
  });

  it("goes on at the next message after a broken stream", async () => {
    const { alice, bob, to } = await pair();
    for (let i = 0; i < 4; i += 1) alice.mail(`m${i}`, to);
    await waitFor(() => bob.deliveries.length === 4, { what: "the mail" });
    bob.ack(bob.deliveries[0]?.deliveryId ?? "");
    bob.ack(bob.deliveries[1]?.deliveryId ?? "");
    await fixture.untilMail(2);
    bob.peer.break();
    const back = await router.agent(to, { resumeToken: bob.resumeToken });
    expect(back.welcome?.resumed).toBe(true);
    await waitFor(() => back.deliveries.length === 2, { what: "the rest" });
    expect(back.mailIds).toEqual(["m2", "m3"]);
    expect(back.deliveries.map(({ attempt }) => attempt)).toEqual([1, 1]);
    for (const { deliveryId } of back.deliveries) back.ack(deliveryId);
    await fixture.untilMail(0);
  });
});
