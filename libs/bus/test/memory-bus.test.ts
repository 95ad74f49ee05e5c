import { createMemoryBus, createMemoryHub, type MemoryHub } from "@nexus/bus";
import { waitFor } from "@nexus/testkit";
import { describe, expect, it } from "vitest";
import { busContract, TestBus } from "./_contract.ts";

const hub = createMemoryHub();

const openOn = (where: MemoryHub, inboundMax?: number) => (replicaId: string) =>
  new TestBus(
    (id, events) =>
      createMemoryBus({
        replicaId: id,
        hub: where,
        events,
        ...(inboundMax === undefined ? {} : { inboundMax }),
      }),
    replicaId,
  );

busContract("memory", () => ({
  open: (replicaId, events) => createMemoryBus({ replicaId, hub, events }),
  openElsewhere: (replicaId, events) => createMemoryBus({ replicaId, events }),
  loseOne: async (from, to) => {
    from.tell(to.bus.replicaId, "lost");
    hub.dropWaiting(to.bus.replicaId);
  },
}));

describe("the memory bus", () => {
  it("keeps so much for a slow replica, and tells it of the rest once", async () => {
    const open = openOn(createMemoryHub(), 3);
    const [a, b] = [open("a"), open("b")];
    for (let i = 0; i < 10; i += 1) expect(a.tell("b", `n${i}`)).toBe(true);
    await waitFor(() => b.gaps.length > 0, { what: "the gap" });
    expect(b.words).toEqual(["a: n0", "a: n1", "a: n2"]);
    expect(b.gaps).toEqual([{ from: undefined, cause: "behind" }]);
    a.tell("b", "later");
    await b.untilHeard(4);
    expect(b.words.at(-1)).toBe("a: later");
    expect(b.gaps).toHaveLength(1);
  });

  it("without a hub has no peers", async () => {
    const bus = new TestBus((replicaId, events) => createMemoryBus({ replicaId, events }), "a");
    expect(bus.bus.peers).toEqual([]);
    expect(bus.tellAll("anybody")).toBe(true);
    expect(bus.tell("a", "myself")).toBe(true);
    expect(bus.heard).toEqual([]);
  });
});
