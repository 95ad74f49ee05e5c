import { createPool } from "@nexus/postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Bench,
  createBench,
  expectError,
  outcome,
  type Replica,
  registration,
  requestId,
} from "./_helpers.ts";

let bench: Bench;
let replica: Replica;
beforeAll(async () => {
  bench = await createBench();
  replica = await bench.start();
});
afterAll(() => bench.close());

const report = (...outcomes: object[]) => replica.service.outcome.reportOutcomes({ outcomes });

const register = (agentId: string) => replica.user.registry.registerAgent(registration(agentId));

const reputationsOf = async (agentId: string) => {
  const { agent } = await replica.user.registry.getAgent({ agentId });
  return agent?.reputations ?? [];
};

describe("ReportOutcomes", () => {
  it("turns outcomes into reputations with their causes", async () => {
    await register("judged");
    const { counted } = await report(
      outcome("judged", "j-1", { runTime: { seconds: 1n } }),
      outcome("judged", "j-2", { runTime: { seconds: 2n } }),
      outcome("judged", "j-3", { success: false, reason: "AGENT_ERROR" }),
      outcome("judged", "j-4", { capability: "map.draw" }),
    );
    expect(counted).toBe(4);
    const [first, second] = await reputationsOf("judged");
    expect(first).toMatchObject({ capability: "map.draw", score: 1, succeeded: 1n, failed: 0n });
    expect(second).toMatchObject({
      capability: "text.analyse",
      succeeded: 2n,
      failed: 1n,
      lastCause: "AGENT_ERROR j-3",
      meanLatency: { seconds: 1n, nanos: 200_000_000 },
    });
    expect(second?.score).toBeCloseTo(2 / 3, 6);
    expect(second?.evidence).toBeCloseTo(3, 4);
    expect(second?.lowerBound).toBeGreaterThan(0);
    expect(second?.lowerBound).toBeLessThan(first?.lowerBound ?? 0);
    expect(second?.updateTime).toBeDefined();
  });

  it("counts a batch that is sent again once", async () => {
    await register("again");
    const batch = [1, 2, 3].map((n) => outcome("again", `again-${n}`));
    expect((await report(...batch)).counted).toBe(3);
    expect((await report(...batch)).counted).toBe(0);
    expect((await report(...batch, outcome("again", "again-4"))).counted).toBe(1);
    expect(
      (await report(batch[0]!, batch[0]!, outcome("again", "again-1", { fence: 2n }))).counted,
    ).toBe(1);
    expect(await reputationsOf("again")).toMatchObject([{ succeeded: 5n }]);
  });

  it("counts once what is sent many times at the same time", async () => {
    await register("rush");
    const batch = Array.from({ length: 50 }, (_, n) => outcome("rush", `rush-${n}`));
    const answers = await Promise.all(Array.from({ length: 8 }, () => report(...batch)));
    expect(answers.reduce((sum, { counted }) => sum + counted, 0)).toBe(50);
    expect(await reputationsOf("rush")).toMatchObject([{ succeeded: 50n }]);
  });

  it("remembers what it counted on the day before", async () => {
    await register("yesterday");
    await report(outcome("yesterday", "old-1"));
    const pool = createPool({
      url: bench.database.url,
      max: 1,
      applicationName: "test",
      schema: "registry",
    });
    await pool.query(
      "UPDATE outcomes_seen SET seen_at = seen_at - interval '23 hours' WHERE task_id = 'old-1'",
    );
    await pool.close();
    expect((await report(outcome("yesterday", "old-1"))).counted).toBe(0);
  });

  it("does not hold what was not the agent's doing against it", async () => {
    await register("blameless");
    const { counted } = await report(
      outcome("blameless", "b-1", { success: false, reason: "JOB_CANCELLED" }),
      outcome("blameless", "b-2", { success: false, reason: "ASSIGNMENT_REFUSED" }),
    );
    expect(counted).toBe(2);
    expect(await reputationsOf("blameless")).toEqual([]);
    await report(outcome("blameless", "b-3", { success: false, reason: "AGENT_LOST" }));
    expect(await reputationsOf("blameless")).toMatchObject([{ failed: 1n, score: 0 }]);
    expect((await reputationsOf("blameless"))[0]?.evidence).toBeCloseTo(0.5, 4);
  });

  it("accepts outcomes of agents that are gone and counts them nowhere, also when they come back", async () => {
    await register("gone");
    await replica.user.registry.deregisterAgent({ requestId: requestId(), agentId: "gone" });
    const batch = [outcome("gone", "g-1"), outcome("gone", "g-2", { namespace: "elsewhere" })];
    expect((await report(...batch)).counted).toBe(0);
    await register("gone");
    expect((await report(...batch)).counted).toBe(0);
    expect(await reputationsOf("gone")).toEqual([]);
  });

  it("keeps namespaces apart", async () => {
    await register("double");
    const elsewhere = replica.as({ sub: "ada", ns: "elsewhere" });
    await elsewhere.registry.registerAgent(registration("double"));
    await report(outcome("double", "d-1", { namespace: "elsewhere" }));
    expect(await reputationsOf("double")).toEqual([]);
    const { agent } = await elsewhere.registry.getAgent({ agentId: "double" });
    expect(agent?.reputations).toHaveLength(1);
  });

  it("takes 512 outcomes at once and no more", async () => {
    await register("many");
    const batch = Array.from({ length: 513 }, (_, n) => outcome("many", `many-${n}`));
    expect((await report(...batch.slice(0, 512))).counted).toBe(512);
    await expectError(report(...batch), "invalid", "REQUEST_INVALID");
  });

  it("needs the scope, and a service to hold it", async () => {
    const user = replica.as({ sub: "ada", scopes: ["registry:agent:*"] });
    await expectError(
      user.outcome.reportOutcomes({ outcomes: [outcome("x", "x-1")] }),
      "forbidden",
      "SCOPE_MISSING",
    );
    const tenant = replica.as({ sub: "root", ns: "team-b", scopes: ["*"] });
    await expectError(
      tenant.outcome.reportOutcomes({ outcomes: [outcome("x", "x-1")] }),
      "forbidden",
      "SERVICE_ONLY",
    );
  });
});
