import { AgentState } from "@nexus/proto/registry";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Bench,
  connect,
  createBench,
  openWatch,
  outcome,
  type Replica,
  registration,
  reportOf,
} from "./_helpers.ts";

describe("the life of an agent", () => {
  let bench: Bench;
  let replica: Replica;
  beforeAll(async () => {
    bench = await createBench();
    replica = await bench.start();
  });
  afterAll(() => bench.close());

  it("is registered, found, watched, connected and judged", async () => {
    const { user, service } = replica;
    const watch = openWatch(user);
    expect(await watch.next()).toMatchObject({ agents: [], snapshotComplete: true });

    const { agent } = await user.registry.registerAgent(
      registration("scout", { labels: { tier: "gold" }, slots: 2 }),
    );
    expect(agent).toMatchObject({
      namespace: "default",
      agentId: "scout",
      state: AgentState.OFFLINE,
      slots: 2,
      labels: { tier: "gold" },
    });
    const [registered] = (await watch.until(({ agents }) => agents.length > 0)).at(-1)!.agents;
    expect(registered).toEqual(agent);

    await connect(replica, "scout", {
      registration: { labels: { tier: "gold" }, slots: 2 },
      presence: { slots: 2, busySlots: 1 },
    });
    await watch.until(({ agents }) => agents.some(({ state }) => state === AgentState.ONLINE));
    const found = await user.registry.discoverAgents({ capability: "text.analyse" });
    expect(found.candidates).toHaveLength(1);
    expect(found.candidates[0]).toMatchObject({
      agent: { agentId: "scout", state: AgentState.ONLINE, busySlots: 1 },
      capability: { name: "text.analyse", version: "1.0.0" },
    });

    const counted = await service.outcome.reportOutcomes(reportOf(outcome("scout", "task-1")));
    expect(counted.counted).toBe(1);
    const after = await user.registry.getAgent({ agentId: "scout" });
    expect(after.agent?.reputations).toMatchObject([
      { capability: "text.analyse", score: 1, succeeded: 1n, failed: 0n },
    ]);
    await waitFor(
      async () => {
        const { candidates } = await user.registry.discoverAgents({ capability: "text.analyse" });
        return candidates[0]?.agent?.reputations[0]?.succeeded === 1n;
      },
      { what: "the index to take in the outcome" },
    );
    watch.close();
  });
});
