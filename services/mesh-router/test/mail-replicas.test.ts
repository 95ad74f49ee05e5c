import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcomeName, type TestAgent } from "./_agent.ts";
import { MeshFixture, type RunningRouter } from "./_router.ts";

let fixture: MeshFixture;
let first: RunningRouter;
let second: RunningRouter;

beforeAll(async () => {
  fixture = await MeshFixture.create();
  first = await fixture.start({ routerId: "first" });
  second = await fixture.start({ routerId: "second" });
});
afterAll(() => fixture.close());

const COUNT = 40;
const range = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `m${from + i}`);

async function received(agent: TestAgent, count: number): Promise<string[]> {
  await waitFor(() => agent.mailIds.length === count, { what: `${count} messages` });
  return agent.mailIds;
}

describe("durable messages over two replicas", () => {
  it("reach an agent at the other replica, in order", async () => {
    const alice = await first.agent("alice");
    const bob = await second.agent("bob");
    for (const id of range(0, COUNT)) alice.mail(id, "bob");
    expect(await received(bob, COUNT)).toEqual(range(0, COUNT));
    expect(outcomeName(await alice.outcomeOf("m0"))).toBe("QUEUED");
    for (const { deliveryId } of bob.deliveries) bob.ack(deliveryId);
    await fixture.untilMail(0);
  });

  it("keep their order when the sender goes to another replica", async () => {
    const before = await first.agent("sender");
    const receiver = await second.agent("receiver");
    for (const id of range(0, COUNT)) before.mail(id, "receiver");
    await before.outcomeOf(`m${COUNT - 1}`);
    const after = await second.agent("sender", { resumeToken: before.resumeToken });
    for (const id of range(COUNT, 2 * COUNT)) after.mail(id, "receiver");
    expect(await received(receiver, 2 * COUNT)).toEqual(range(0, 2 * COUNT));
    for (const { deliveryId } of receiver.deliveries) receiver.ack(deliveryId);
    await fixture.untilMail(0);
  });

  it("follow their receiver to another replica, the unacknowledged ones again", async () => {
    const alice = await first.agent("anne");
    const before = await second.agent("moves");
    for (const id of range(0, 10)) alice.mail(id, "moves");
    await received(before, 10);
    for (const { deliveryId } of before.deliveries.slice(0, 4)) before.ack(deliveryId);
    await fixture.untilMail(6);
    before.peer.break();
    const after = await first.agent("moves", { resumeToken: before.resumeToken });
    for (const id of range(10, 20)) alice.mail(id, "moves");
    expect(await received(after, 16)).toEqual(range(4, 20));
    for (const { deliveryId } of after.deliveries) after.ack(deliveryId);
    await fixture.untilMail(0);
  });

  it("reach a receiver that has just left the replica where they are stored", async () => {
    const sender = await second.agent("stays");
    const before = await second.agent("leaves");
    before.peer.break();
    const after = await first.agent("leaves", { resumeToken: before.resumeToken });
    for (const id of range(0, 10)) sender.mail(id, "leaves");
    expect(await received(after, 10)).toEqual(range(0, 10));
    for (const { deliveryId } of after.deliveries) after.ack(deliveryId);
    await fixture.untilMail(0);
  });

  it("are stored once, whichever replica takes the second try", async () => {
    const alice = await first.agent("amy");
    const bob = await second.agent("ben");
    alice.mail("m1", "ben");
    await alice.outcomeOf("m1");
    const moved = await second.agent("amy", { resumeToken: alice.resumeToken });
    moved.mail("m1", "ben");
    expect(await moved.outcomeOf("m1")).toMatchObject({ duplicate: true });
    moved.mail("m2", "ben");
    expect(await received(bob, 2)).toEqual(["m1", "m2"]);
    for (const { deliveryId } of bob.deliveries) bob.ack(deliveryId);
    await fixture.untilMail(0);
  });
});
