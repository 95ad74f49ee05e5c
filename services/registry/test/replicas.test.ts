import { createPool } from "@nexus/postgres";
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
  requestId,
} from "./_helpers.ts";

const WITHIN_MS = 1_000;

let bench: Bench;
let one: Replica;
let two: Replica;
beforeAll(async () => {
  bench = await createBench();
  one = await bench.start();
  two = await bench.start();
});
afterAll(() => bench.close());

const found = async (replica: Replica, agentId: string) => {
  const { candidates } = await replica.user.registry.discoverAgents({ text: agentId });
  return candidates.find(({ agent }) => agent?.agentId === agentId);
};

describe("two replicas on one database", () => {
  it("find each other's agents within a second", async () => {
    for (const [here, there, agentId] of [
      [one, two, "from-one"],
      [two, one, "from-two"],
    ] as const) {
      await connect(here, agentId);
      await waitFor(() => found(there, agentId), { timeoutMs: WITHIN_MS, what: agentId });
      await there.service.presence.reportPresence({
        routerId: "router-1",
        presences: [{ namespace: "default", agentId, epoch: 2n, state: AgentState.LOST }],
      });
      await waitFor(async () => (await found(here, agentId)) === undefined, {
        timeoutMs: WITHIN_MS,
        what: `${agentId} to be lost`,
      });
    }
  });

  it("learn of reputations and removals", async () => {
    await connect(one, "shared");
    await two.service.outcome.reportOutcomes(reportOf(outcome("shared", "s-1")));
    await waitFor(
      async () => (await found(one, "shared"))?.agent?.reputations[0]?.succeeded === 1n,
      { timeoutMs: WITHIN_MS, what: "the reputation" },
    );
    await two.user.registry.deregisterAgent({ requestId: requestId(), agentId: "shared" });
    await waitFor(async () => (await found(one, "shared")) === undefined, {
      timeoutMs: WITHIN_MS,
      what: "the removal",
    });
  });

  it("tell their watchers the same, whoever made the change", async () => {
    const watches = [openWatch(one.user), openWatch(two.user)];
    for (const watch of watches) await watch.until(({ snapshotComplete }) => snapshotComplete);
    const ids = Array.from({ length: 20 }, (_, n) => `both-${n}`);
    await Promise.all(
      ids.map((agentId, n) =>
        (n % 2 === 0 ? one : two).user.registry.registerAgent(registration(agentId)),
      ),
    );
    const orders = await Promise.all(
      watches.map(async (watch) => {
        const seen: string[] = [];
        await watch.until(({ agents }) => {
          for (const { agentId } of agents) if (!seen.includes(agentId)) seen.push(agentId);
          return seen.length === ids.length;
        });
        return seen;
      }),
    );
    expect(orders[0]).toEqual(orders[1]);
    for (const watch of watches) watch.close();
  });

  it("settle a race for one agent on one record", async () => {
    const racing = Array.from({ length: 16 }, (_, n) =>
      (n % 2 === 0 ? one : two).user.registry.registerAgent(
        registration("raced", { slots: n + 1 }),
      ),
    );
    await Promise.all(racing);
    const stored = (await one.user.registry.getAgent({ agentId: "raced" })).agent;
    for (const replica of [one, two]) {
      await waitFor(
        async () => {
          const { candidates } = await replica.user.registry.discoverAgents({
            text: "raced",
            states: [AgentState.OFFLINE],
          });
          return candidates[0]?.agent?.revision === stored?.revision;
        },
        { timeoutMs: WITHIN_MS, what: "the last record" },
      );
    }
  });

  it("know everything after a restart", async () => {
    await connect(one, "survivor");
    await one.service.outcome.reportOutcomes(reportOf(outcome("survivor", "r-1")));
    const three = await bench.start();
    expect(await found(three, "survivor")).toMatchObject({
      agent: {
        state: AgentState.ONLINE,
        capabilities: [{ name: "text.analyse" }],
        reputations: [{ succeeded: 1n }],
      },
    });
    await three.stop();
  });

  it("answer operators on the ops port", async () => {
    const ready = await fetch(`http://${one.opsAddress}/ready`);
    expect(ready.status).toBe(200);
    const metrics = await (await fetch(`http://${one.opsAddress}/metrics`)).text();
    expect(metrics).toMatch(/^nexus_registry_indexed_agents \d+$/m);
    expect(metrics).toContain("nexus_registry_registrations_total");
  });
});

describe("a registry", () => {
  it("makes its own tables, also when two start at once", async () => {
    const fresh = await createBench({ migrated: false });
    const replicas = await Promise.all([fresh.start(), fresh.start()]);
    await connect(replicas[0], "first");
    await waitFor(() => found(replicas[1], "first"), { what: "the first agent" });
    await fresh.close();
  });

  it("outlives the loss of every connection to Postgres", async () => {
    await connect(one, "before");
    const watch = openWatch(one.user);
    await watch.until(({ snapshotComplete }) => snapshotComplete);
    const admin = createPool({
      url: bench.database.adminUrl,
      max: 1,
      applicationName: "test",
      schema: "public",
    });
    await admin.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'nexus-registry%'",
    );
    await admin.close();
    expect(await found(one, "before")).toBeDefined();
    await waitFor(
      async () => {
        await two.user.registry.registerAgent(registration("after"));
        return true;
      },
      { what: "a registration after the loss" },
    );
    await watch.until(({ agents }) => agents.some(({ agentId }) => agentId === "after"));
    watch.close();
  });
});
