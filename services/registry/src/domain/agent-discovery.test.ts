import { createManualClock } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { fakeAgent, fakeCapability, fakePresence, fakeReputation, NOW_MS } from "./agent.fake.ts";
import type { Agent } from "./agent.ts";
import { createAgentDiscovery, type DiscoverQuery } from "./agent-discovery.ts";
import { CapabilityIndex } from "./capability-index.ts";

const ANYTHING: DiscoverQuery = {
  namespace: "default",
  capability: "",
  versionRange: "",
  requiredLabels: {},
  tags: [],
  text: "",
  states: [],
  minFreeSlots: 0,
  minReputation: 0,
  limit: 0,
  explain: false,
};

function discover(agents: readonly Agent[], query: Partial<DiscoverQuery>) {
  const index = new CapabilityIndex();
  for (const agent of agents) index.put(agent);
  const discovery = createAgentDiscovery({
    index,
    clock: createManualClock(NOW_MS),
    reputationHalfLifeMs: 604_800_000,
  });
  return discovery.discover({ ...ANYTHING, ...query });
}

function ids(agents: readonly Agent[], query: Partial<DiscoverQuery>): string[] {
  return discover(agents, query).candidates.map(({ agent }) => agent.record.agentId);
}

const versions = (...list: string[]) => ({
  capabilities: list.map((version) => fakeCapability({ version })),
});

describe("discovery", () => {
  it.each<[string, string, string[]]>([
    ["any version", "", ["v1", "v2", "v2beta"]],
    ["a caret range", "^1.2.0", ["v1"]],
    ["a comparison", ">=2", ["v2"]],
    ["a prerelease that is named", ">=2.0.0-beta", ["v2", "v2beta"]],
    ["nothing at all", "^9", []],
  ])("finds %s", (_name, versionRange, expected) => {
    const agents = [
      fakeAgent("v1", versions("1.2.5")),
      fakeAgent("v2", versions("2.0.0")),
      fakeAgent("v2beta", versions("2.0.0-beta.3")),
    ];
    const found = ids(agents, { capability: "text.analyse", versionRange });
    expect(found.sort()).toEqual(expected.sort());
  });

  it("names the highest version in the range", () => {
    const agents = [fakeAgent("many", versions("1.9.0", "1.10.0", "2.0.0"))];
    const [candidate] = discover(agents, {
      capability: "text.analyse",
      versionRange: "^1",
    }).candidates;
    expect(candidate?.capability?.version).toBe("1.10.0");
  });

  it("refuses a range that is none", () => {
    expect(() => discover([], { versionRange: "newest" })).toThrow(
      expect.objectContaining({ kind: "invalid", reason: "VERSION_RANGE_INVALID" }),
    );
  });

  it.each<[string, Partial<DiscoverQuery>, string[]]>([
    ["nothing in particular", {}, ["busy", "free", "other"]],
    ["a capability", { capability: "text.analyse" }, ["busy", "free"]],
    ["a label", { requiredLabels: { tier: "gold" } }, ["free"]],
    ["two labels", { requiredLabels: { tier: "gold", zone: "a" } }, []],
    ["a label named like a member of Object", { requiredLabels: { constructor: "x" } }, []],
    ["a tag", { tags: ["nlp"] }, ["free"]],
    ["a tag that only another capability has", { capability: "text.analyse", tags: ["gpu"] }, []],
    ["a state", { states: ["DRAINING"] }, ["leaving"]],
    ["lost ones", { states: ["LOST", "OFFLINE"] }, ["gone", "never"]],
    ["a free slot", { minFreeSlots: 1 }, ["free", "other"]],
    ["more slots than registered", { minFreeSlots: 3 }, []],
    ["a word of a description", { text: "SUMMARISE" }, ["free"]],
    ["two words in different places", { text: "summarise nlp" }, ["free"]],
    ["a word of a display name", { text: "Zürich" }, ["other"]],
    ["half a word", { text: "summ" }, []],
    ["another namespace", { namespace: "elsewhere" }, ["foreign"]],
  ])("by %s", (_name, query, expected) => {
    const agents = [
      fakeAgent("free", {
        labels: { tier: "gold" },
        slots: 2,
        capabilities: [fakeCapability({ description: "Can summarise texts.", tags: ["nlp"] })],
        presence: fakePresence({ slots: 5 }),
      }),
      fakeAgent("busy", { presence: fakePresence({ state: "BUSY", slots: 1, busySlots: 1 }) }),
      fakeAgent("other", {
        displayName: "Kartograf Zürich",
        capabilities: [fakeCapability({ name: "map.draw", tags: ["gpu"] })],
      }),
      fakeAgent("leaving", { presence: fakePresence({ state: "DRAINING" }) }),
      fakeAgent("gone", { presence: fakePresence({ state: "LOST" }) }),
      fakeAgent("never", { presence: undefined }),
      fakeAgent("foreign", { namespace: "elsewhere" }),
    ];
    expect(ids(agents, query).sort()).toEqual(expected);
  });

  it("puts proven agents before lucky ones and newcomers before failing ones", () => {
    const reputation = (successWeight: number, failureWeight: number) => ({
      reputations: [fakeReputation({ successWeight, failureWeight })],
    });
    const agents = [
      fakeAgent("failing", reputation(2, 8)),
      fakeAgent("new"),
      fakeAgent("lucky", reputation(1, 0)),
      fakeAgent("proven", reputation(80, 4)),
      fakeAgent("elsewhere", {
        reputations: [fakeReputation({ capability: "map.draw", successWeight: 999 })],
      }),
    ];
    expect(ids(agents, { capability: "text.analyse" })).toEqual([
      "proven",
      "lucky",
      "elsewhere",
      "new",
      "failing",
    ]);
    expect(ids(agents, { capability: "text.analyse", minReputation: 0.5 })).toEqual(["proven"]);
  });

  it("measures latency rather than believing a promise", () => {
    const promised = fakeCapability({ latencyHintUs: 1_000 });
    const agents = [
      fakeAgent("boaster", {
        capabilities: [promised],
        reputations: [fakeReputation({ meanLatencyMs: 900 })],
      }),
      fakeAgent("honest", { capabilities: [fakeCapability({ latencyHintUs: 300_000 })] }),
    ];
    expect(ids(agents, { capability: "text.analyse" })).toEqual(["honest", "boaster"]);
  });

  it("gives every factor and the sum of them", () => {
    const [candidate] = discover([fakeAgent("one")], { capability: "text.analyse" }).candidates;
    expect(candidate?.factors).toEqual({
      reputation: expect.closeTo(0.3424, 4),
      freeSlots: 1,
      latency: 0.5,
      cost: 1,
      text: 1,
    });
    expect(candidate?.score).toBeCloseTo(0.45 * 0.3424 + 0.2 + 0.075 + 0.1 + 0.1, 4);
  });

  it("gives the best few, counts all, and repeats itself", () => {
    const agents = Array.from({ length: 50 }, (_, n) =>
      fakeAgent(`agent-${String(n).padStart(2, "0")}`),
    );
    const found = discover(agents, { limit: 3 });
    expect(found.totalMatches).toBe(50);
    expect(found.candidates.map(({ agent }) => agent.record.agentId)).toEqual([
      "agent-00",
      "agent-01",
      "agent-02",
    ]);
    expect(discover(agents, {}).candidates).toHaveLength(20);
  });

  it.each<[string, Parameters<typeof fakeAgent>[1], string]>([
    ["VERSION", versions("3.0.0"), "version 3.0.0 is not in ^1"],
    ["TAGS", { capabilities: [fakeCapability()] }, 'tag "nlp" is not set'],
    [
      "TEXT",
      { capabilities: [fakeCapability({ tags: ["nlp"] })] },
      'the word "summarise" does not occur',
    ],
    ["LABELS", { labels: { tier: "tin" } }, 'label tier is "tin", not "gold"'],
    ["STATE", { presence: fakePresence({ state: "LOST" }) }, "state is LOST"],
    ["FREE_SLOTS", { presence: fakePresence({ busySlots: 1 }) }, "free slots are 0 of 1 wanted"],
    ["REPUTATION", { reputations: [fakeReputation({ failureWeight: 9 })] }, "reputation is "],
  ])("explains a rejection by %s", (reason, changes, message) => {
    const agent = fakeAgent("one", {
      labels: { tier: "gold" },
      capabilities: [fakeCapability({ description: "summarise", tags: ["nlp"] })],
      ...changes,
    });
    const query = {
      capability: "text.analyse",
      versionRange: "^1",
      requiredLabels: { tier: "gold" },
      tags: ["nlp"],
      text: "summarise",
      minFreeSlots: 1,
      minReputation: 0.2,
      explain: true,
    };
    const { candidates, rejections } = discover([agent], query);
    expect(candidates).toEqual([]);
    expect(rejections).toEqual([
      { agentId: "one", reason, message: expect.stringContaining(message) },
    ]);
  });

  it("explains only when asked, no more than the limit, and nobody without the capability", () => {
    const agents = [
      ...["c", "a", "b"].map((id) => fakeAgent(id, { presence: undefined })),
      fakeAgent("other", { capabilities: [fakeCapability({ name: "map.draw" })] }),
    ];
    const query = { capability: "text.analyse", limit: 2 };
    expect(discover(agents, query).rejections).toEqual([]);
    const { rejections } = discover(agents, { ...query, explain: true });
    expect(rejections.map(({ agentId }) => agentId)).toEqual(["a", "b"]);
  });

  it("stops before an answer grows too large", () => {
    const large = fakeCapability({ inputSchema: "x".repeat(400_000) });
    const agents = ["a", "b", "c", "d"].map((id) => fakeAgent(id, { capabilities: [large] }));
    const found = discover(agents, { capability: "text.analyse" });
    expect(found.totalMatches).toBe(4);
    expect(found.candidates).toHaveLength(2);
  });
});
