import { randomUUID } from "node:crypto";
import { AckKind } from "@nexus/proto/mesh";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcomeName, type TestAgent } from "./_agent.ts";
import { ReplicaFixture } from "./_replicas.ts";
import type { RunningRouter } from "./_router.ts";

let fixture: ReplicaFixture;
let first: RunningRouter;
let second: RunningRouter;
let third: RunningRouter;

beforeAll(async () => {
  fixture = await ReplicaFixture.create(3, {});
  [first, second, third] = fixture.routers as [RunningRouter, RunningRouter, RunningRouter];
});
afterAll(() => fixture.close());

const tag = () => randomUUID().slice(0, 8);

async function outcome(agent: TestAgent, messageId: string): Promise<string> {
  return outcomeName(await agent.outcomeOf(messageId));
}

describe("an agent that comes back at another replica", () => {
  it("keeps its epoch, and gets what it was not given yet", async () => {
    const t = tag();
    const alice = await first.agent(`alice-${t}`);
    const before = await second.agent(`moves-${t}`, { messageCredit: 1 });
    for (let i = 0; i < 10; i += 1) alice.post(`m${i}`, `moves-${t}`, { subject: `s${i}` });
    before.ack((await before.delivery()).deliveryId, AckKind.DONE);
    expect(await outcome(alice, "m0")).toBe("DELIVERED");
    before.peer.break();
    const { resumeToken } = before;
    const after = await third.agent(`moves-${t}`, { resumeToken });
    after.autoAck = true;
    expect(after.epoch).toBe(before.epoch);
    for (const { deliveryId } of after.deliveries) after.ack(deliveryId);
    expect(await outcome(alice, "m9")).toBe("DELIVERED");
    expect(after.deliveries.map(({ subject }) => subject)).toEqual(
      Array.from({ length: 9 }, (_, i) => `s${i + 1}`),
    );
    alice.post("later", `moves-${t}`);
    expect(await outcome(alice, "later")).toBe("DELIVERED");
  });

  it("ends the stream that its earlier session still had", async () => {
    const t = tag();
    const before = await second.agent(`twice-${t}`);
    const after = await third.agent(`twice-${t}`, { resumeToken: before.resumeToken });
    expect((await before.peer.untilEnded())?.reason).toBe("SESSION_SUPERSEDED");
    after.autoAck = true;
    const alice = await second.agent(`alice-${t}`);
    alice.post("m1", `twice-${t}`);
    expect(await outcome(alice, "m1")).toBe("DELIVERED");
  });
});
