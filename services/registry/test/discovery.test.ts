import { AgentState } from "@nexus/proto/registry";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Bench,
  connect,
  createBench,
  expectError,
  outcome,
  type Replica,
  reportOf,
} from "./_helpers.ts";

let bench: Bench;
let replica: Replica;
beforeAll(async () => {
  bench = await createBench();
  replica = await bench.start();
  const capability = (version: string, more: object = {}) => ({
    capabilities: [{ name: "text.analyse", version, ...more }],
  });
  await connect(replica, "proven", {
    registration: { ...capability("1.4.0", { tags: ["nlp"] }), labels: { tier: "gold" } },
  });
  await connect(replica, "newcomer", { registration: capability("1.0.0") });
  await connect(replica, "failing", { registration: capability("1.9.0") });
  await connect(replica, "modern", { registration: capability("2.0.0") });
  await connect(replica, "draining", {
    registration: capability("1.4.0"),
    presence: { state: AgentState.DRAINING },
  });
  const tasks = Array.from({ length: 20 }, (_, n) => [
    outcome("proven", `p-${n}`),
    outcome("failing", `f-${n}`, { success: n < 2, reason: n < 2 ? "" : "AGENT_ERROR" }),
  ]);
  await replica.service.outcome.reportOutcomes(reportOf(...tasks.flat()));
  await waitFor(
    async () => {
      const { candidates } = await discover({ text: "failing" });
      return (candidates[0]?.agent?.reputations[0]?.evidence ?? 0) > 0;
    },
    { what: "the reputations" },
  );
});
afterAll(() => bench.close());

const discover = (request: object) => replica.user.registry.discoverAgents(request);

describe("DiscoverAgents", () => {
  it("puts the best first and says why", async () => {
    const { candidates, totalMatches, rejections } = await discover({
      capability: "text.analyse",
      versionRange: "^1",
    });
    expect(candidates.map(({ agent }) => agent?.agentId)).toEqual([
      "proven",
      "newcomer",
      "failing",
    ]);
    expect(totalMatches).toBe(3);
    expect(rejections).toEqual([]);
    const [best] = candidates;
    expect(best?.capability).toMatchObject({ name: "text.analyse", version: "1.4.0" });
    expect(Object.keys(best?.factors ?? {}).sort()).toEqual([
      "cost",
      "free_slots",
      "latency",
      "reputation",
      "text",
    ]);
    expect(best?.score).toBeGreaterThan(candidates[1]?.score ?? 1);
    expect(best?.agent?.reputations[0]?.lowerBound).toBeCloseTo(
      best?.factors["reputation"] ?? 0,
      6,
    );
  });

  it("explains who was left out", async () => {
    const { candidates, rejections } = await discover({
      capability: "text.analyse",
      versionRange: "^1",
      tags: ["nlp"],
      requiredLabels: { tier: "gold" },
      minFreeSlots: 1,
      minReputation: 0.5,
      explain: true,
    });
    expect(candidates.map(({ agent }) => agent?.agentId)).toEqual(["proven"]);
    expect(rejections).toMatchObject([
      { agentId: "draining", reason: "TAGS" },
      { agentId: "failing", reason: "TAGS" },
      { agentId: "modern", reason: "VERSION", message: "version 2.0.0 is not in ^1" },
      { agentId: "newcomer", reason: "TAGS" },
    ]);
    const states = await discover({ capability: "text.analyse", explain: true });
    expect(states.rejections).toMatchObject([
      { agentId: "draining", message: "state is DRAINING" },
    ]);
  });

  it("searches without a capability", async () => {
    const { candidates } = await discover({ requiredLabels: { tier: "gold" } });
    expect(candidates).toHaveLength(1);
    expect(candidates[0]?.capability).toBeUndefined();
  });

  it("finds nobody of another namespace", async () => {
    const stranger = replica.as({ sub: "eve", ns: "elsewhere" });
    const { candidates, rejections, totalMatches } = await stranger.registry.discoverAgents({
      capability: "text.analyse",
      explain: true,
    });
    expect([candidates, rejections, totalMatches]).toEqual([[], [], 0]);
  });

  it("refuses a range that is none, a limit beyond 1000, and callers without the scope", async () => {
    await expectError(
      discover({ capability: "text.analyse", versionRange: "one or two" }),
      "invalid",
      "VERSION_RANGE_INVALID",
    );
    await expectError(discover({ limit: 1_001 }), "invalid", "REQUEST_INVALID");
    await expectError(
      replica.as({ sub: "ada", scopes: ["registry:agent:register"] }).registry.discoverAgents({}),
      "forbidden",
      "SCOPE_MISSING",
    );
  });
});
