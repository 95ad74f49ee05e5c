import { describe, expect, it } from "vitest";
import { fakeAgent, fakeCapability, fakePresence, fakeReputation } from "./agent.fake.ts";
import { CapabilityIndex, type IndexedAgent, type Offer } from "./capability-index.ts";

function idsOf(agents: Iterable<IndexedAgent>): string[] {
  return [...agents].map(({ view }) => view.record.agentId).sort();
}

function offeredBy(offers: Iterable<Offer>): string[] {
  return idsOf([...offers].map(({ agent }) => agent));
}

describe("CapabilityIndex", () => {
  it("finds agents by namespace and capability", () => {
    const index = new CapabilityIndex();
    index.put(fakeAgent("a"));
    index.put(fakeAgent("b", { capabilities: [fakeCapability({ name: "map.draw" })] }));
    index.put(fakeAgent("c", { namespace: "other" }));
    expect(offeredBy(index.offersOf("default", "text.analyse"))).toEqual(["a"]);
    expect(offeredBy(index.offersOf("default", "map.draw"))).toEqual(["b"]);
    expect(idsOf(index.agentsOf("default"))).toEqual(["a", "b"]);
    expect(idsOf(index.agentsOf("nowhere"))).toEqual([]);
    expect([index.size, index.countOf("default"), index.countOf("other")]).toEqual([3, 2, 1]);
    expect(index.snapshot("other")).toHaveLength(1);
    expect(index.snapshot()).toHaveLength(3);
  });

  it("moves an agent when its capabilities change", () => {
    const index = new CapabilityIndex();
    index.put(fakeAgent("a"));
    index.put(fakeAgent("a", { capabilities: [fakeCapability({ name: "map.draw" })] }));
    expect(offeredBy(index.offersOf("default", "text.analyse"))).toEqual([]);
    expect(offeredBy(index.offersOf("default", "map.draw"))).toEqual(["a"]);
    expect(index.size).toBe(1);
  });

  it("keeps the versions of an offer in order", () => {
    const index = new CapabilityIndex();
    const versions = ["1.9.0", "2.0.0-rc.1", "1.10.0", "2.0.0"];
    const capabilities = versions.map((version) => fakeCapability({ version }));
    index.put(fakeAgent("a", { capabilities }));
    const [offer] = index.offersOf("default", "text.analyse");
    expect(offer?.definitions.map(({ capability }) => capability.version)).toEqual([
      "2.0.0",
      "2.0.0-rc.1",
      "1.10.0",
      "1.9.0",
    ]);
  });

  it("replaces presence and reputation of known agents only", () => {
    const index = new CapabilityIndex();
    const key = { namespace: "default", agentId: "a" };
    index.putPresence(key, fakePresence());
    expect(index.get(key)).toBeUndefined();
    index.put(fakeAgent("a"));
    const before = index.get(key)?.view;
    index.putPresence(key, fakePresence({ busySlots: 1 }));
    index.putReputations(key, [fakeReputation({ succeeded: 3 })]);
    expect(index.get(key)?.view).toMatchObject({
      presence: { busySlots: 1 },
      reputations: [{ succeeded: 3 }],
    });
    expect(before?.presence?.busySlots).toBe(0);
  });

  it("moves the time of last sight forward only", () => {
    const index = new CapabilityIndex();
    const key = { namespace: "default", agentId: "a" };
    index.put(fakeAgent("a", { presence: fakePresence({ seenAtMs: 100 }) }));
    index.putSeen(key, 50);
    expect(index.get(key)?.view.presence?.seenAtMs).toBe(100);
    index.putSeen(key, 150);
    expect(index.get(key)?.view.presence?.seenAtMs).toBe(150);
  });

  it("shares equal capabilities and forgets unused ones", () => {
    const index = new CapabilityIndex();
    for (let n = 0; n < 100; n++) index.put(fakeAgent(`agent-${n}`));
    expect(index.definitionCount).toBe(1);
    index.put(fakeAgent("special", { capabilities: [fakeCapability({ costMicros: 5n })] }));
    expect(index.definitionCount).toBe(2);
    index.remove({ namespace: "default", agentId: "special" });
    expect(index.definitionCount).toBe(1);
    for (let n = 0; n < 100; n++) index.remove({ namespace: "default", agentId: `agent-${n}` });
    index.remove({ namespace: "default", agentId: "never-there" });
    expect([index.size, index.definitionCount]).toEqual([0, 0]);
  });
});
