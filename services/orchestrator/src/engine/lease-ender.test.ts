import { createSilentLogger, NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { Ending } from "../domain/settlement.ts";
import { addAgent, fakeFleet, fakeLease } from "./engine.fake.ts";
import { createLeaseEnder } from "./lease-ender.ts";
import type { WordOutcome } from "./lease-orders.ts";

const LOST: Ending = { kind: "LOST", message: "", agentsDoing: false };

/** Ends over a queue that keeps its orders until the test gives them up. */
function setUp() {
  const agent = addAgent(fakeFleet(), "a");
  const orders: { fence: bigint; giveUp: (error: Error) => void }[] = [];
  const settler = {
    end: ({ fence }: { readonly fence: bigint }) =>
      new Promise<WordOutcome>((_, giveUp) => {
        orders.push({ fence, giveUp });
      }),
  };
  const end = createLeaseEnder(settler, createSilentLogger());
  return { end, orders, lease: () => fakeLease(agent, 1n) };
}

describe("createLeaseEnder", () => {
  it("orders the end of a lease once for as long as it waits to be stored", () => {
    const t = setUp();
    const [first, second] = [t.lease(), t.lease()];
    expect(t.end(first, LOST)).toBe(true);
    for (let i = 0; i < 120; i += 1) expect(t.end(first, LOST)).toBe(false);
    expect(t.end(second, LOST)).toBe(true);
    expect(t.orders.map(({ fence }) => fence)).toEqual([first.lease.fence, second.lease.fence]);
  });

  it("orders it anew when the order was given up, and lets the assignment be sent again", async () => {
    const t = setUp();
    const live = t.lease();
    t.end(live, LOST);
    t.orders[0]?.giveUp(
      new NexusError({ kind: "exhausted", reason: "QUEUE_FULL", message: "Full." }),
    );
    await new Promise(setImmediate);
    expect(live.sent).toBe(false);
    expect(t.end(live, LOST)).toBe(true);
    expect(t.orders).toHaveLength(2);
  });
});
