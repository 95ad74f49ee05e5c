import { AgentState } from "@nexus/proto/registry";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Bench,
  type Clients,
  connect,
  createBench,
  expectError,
  outcome,
  type Replica,
  registration,
  reportOf,
  requestId,
  twice,
} from "./_helpers.ts";

let bench: Bench;
let replica: Replica;
beforeAll(async () => {
  bench = await createBench();
  replica = await bench.start({ agentsPerNamespaceMax: 60 });
});
afterAll(() => bench.close());

const scoped = (...scopes: string[]): Clients => replica.as({ sub: "scoped", scopes });

describe("RegisterAgent", () => {
  it("stores everything it was told", async () => {
    const told = {
      displayName: "Scout",
      capabilities: [
        {
          name: "text.analyse",
          version: "1.2.0",
          description: "Counts words.",
          inputSchema: '{"type":"object"}',
          outputSchema: "{}",
          tags: ["nlp", "fast"],
          costMicros: 9_007_199_254_740_993n,
          latencyHint: { seconds: 1n, nanos: 500_000_000 },
        },
        { name: "text.analyse", version: "1.3.0-rc.1" },
      ],
      region: "eu-west-1",
      slots: 4,
    };
    const labels = { tier: "gold", zone: "ä'\"\\b" };
    const request = registration("full", { ...told, labels, ttl: { seconds: 90n } });
    const { agent } = await replica.user.registry.registerAgent(request);
    expect(agent).toMatchObject({
      ...told,
      labels,
      namespace: "default",
      state: AgentState.OFFLINE,
    });
    expect(agent?.lastSeenTime).toBeUndefined();
    const lifeS = Number(agent!.expireTime!.seconds - agent!.registerTime!.seconds);
    expect(lifeS).toBe(90);
    expect(await replica.user.registry.getAgent({ agentId: "full" })).toMatchObject({ agent });
  });

  it("gives one slot and a day to live by default", async () => {
    const { agent } = await replica.user.registry.registerAgent(registration("plain"));
    expect(agent?.slots).toBe(1);
    expect(Number(agent!.expireTime!.seconds - agent!.registerTime!.seconds)).toBe(86_400);
  });

  it("gives it the reputation that everybody is born with", async () => {
    const { agent } = await replica.user.registry.registerAgent(registration("newborn"));
    expect(agent?.reputations).toMatchObject([{ score: 1, evidence: 0, succeeded: 0n }]);
    expect(agent?.reputations[0]?.lowerBound).toBeCloseTo(0.342, 3);
  });

  it("replaces what a known agent said, and keeps its presence and reputation", async () => {
    await connect(replica, "known");
    await replica.service.outcome.reportOutcomes(reportOf(outcome("known", "task-known")));
    const before = await replica.user.registry.getAgent({ agentId: "known" });
    const { agent } = await replica.user.registry.registerAgent(
      registration("known", { capabilities: [{ name: "map.draw", version: "2.0.0" }] }),
    );
    expect(agent).toMatchObject({
      capabilities: [{ name: "map.draw" }],
      state: AgentState.ONLINE,
      registerTime: before.agent?.registerTime,
      reputations: [{ capability: "text.analyse", succeeded: 1n }, { capability: "map.draw" }],
    });
    expect(agent!.revision).toBeGreaterThan(before.agent!.revision);
  });

  it("changes no revision when nothing changed, but lives on", async () => {
    const { user } = replica;
    const first = await user.registry.registerAgent(
      registration("same", { ttl: { seconds: 60n } }),
    );
    const again = await user.registry.registerAgent(
      registration("same", { ttl: { seconds: 60n } }),
    );
    expect(again.agent?.revision).toBe(first.agent?.revision);
    expect(again.agent?.updateTime).toEqual(first.agent?.updateTime);
    expect(again.agent?.expireTime).not.toEqual(first.agent?.expireTime);
  });

  it("is found at once on the answering replica", async () => {
    for (let n = 0; n < 5; n++) {
      const capability = { name: `at-once.${n}`, version: "1.0.0" };
      const agentId = `at-once-${n}`;
      await replica.user.registry.registerAgent(
        registration(agentId, { capabilities: [capability] }),
      );
      const { candidates } = await replica.user.registry.discoverAgents({
        capability: capability.name,
        states: [AgentState.OFFLINE],
      });
      expect(candidates).toHaveLength(1);
    }
  });

  it("does the same request once, also when both run at the same time", async () => {
    const request = registration("twice");
    const [one, two] = await Promise.all([
      replica.user.registry.registerAgent(request),
      replica.user.registry.registerAgent(request),
    ]);
    expect(two).toEqual(one);
    expect(await replica.user.registry.registerAgent(request)).toEqual(one);
  });

  it("answers a repeated request with the agent as it is now", async () => {
    const request = registration("moved-on");
    await replica.user.registry.registerAgent(request);
    await replica.user.registry.registerAgent(registration("moved-on", { slots: 7 }));
    const repeated = await replica.user.registry.registerAgent(request);
    expect(repeated.agent?.slots).toBe(7);
    await replica.user.registry.deregisterAgent({ requestId: requestId(), agentId: "moved-on" });
    await expectError(replica.user.registry.registerAgent(request), "not_found", "AGENT_NOT_FOUND");
  });

  it("refuses a request id that was used for something else", async () => {
    const request = registration("reuse");
    await replica.user.registry.registerAgent(request);
    await expectError(
      replica.user.registry.registerAgent({ ...request, slots: 2 }),
      "conflict",
      "REQUEST_ID_REUSED",
    );
    await expectError(
      replica.user.registry.deregisterAgent({ requestId: request.requestId, agentId: "reuse" }),
      "conflict",
      "REQUEST_ID_REUSED",
    );
    const other = replica.as({ sub: "somebody-else" });
    await other.registry.registerAgent({ ...request, agentId: "reuse-2" });
  });

  it.each([
    ["a capability that appears twice", { capabilities: twice() }, "CAPABILITY_DUPLICATE"],
    ["no capability", { capabilities: [] }, "REQUEST_INVALID"],
    ["a wrong name", { agentId: "No Spaces" }, "REQUEST_INVALID"],
    [
      "a version that is none",
      { capabilities: [{ name: "a", version: "01.0.0" }] },
      "REQUEST_INVALID",
    ],
    ["a ttl below a minute", { ttl: { seconds: 1n } }, "REQUEST_INVALID"],
    ["text that cannot be stored", { displayName: "a\u0000b" }, "TEXT_NOT_STORABLE"],
    ["more than fits", { capabilities: huge() }, "AGENT_TOO_LARGE"],
  ])("refuses %s and leaves nothing behind", async (_name, changes, reason) => {
    const request = registration("refused", changes);
    await expectError(replica.user.registry.registerAgent(request), "invalid", reason);
    await expectError(
      replica.user.registry.getAgent({ agentId: "refused" }),
      "not_found",
      "AGENT_NOT_FOUND",
    );
  });

  it("lets an agent register itself and nobody else", async () => {
    const agent = replica.as({ sub: "self", kind: "agent" });
    await agent.registry.registerAgent(registration("self"));
    await expectError(
      agent.registry.registerAgent(registration("not-self")),
      "forbidden",
      "AGENT_ID_MISMATCH",
    );
  });

  it("needs the scope", async () => {
    await expectError(
      scoped("registry:agent:read").registry.registerAgent(registration("no-scope")),
      "forbidden",
      "SCOPE_MISSING",
    );
  });

  it("holds no more agents than a namespace may", async () => {
    const crowded = replica.as({ sub: "ada", ns: "crowded" });
    const registering = Array.from({ length: 60 }, (_, n) =>
      crowded.registry.registerAgent(registration(`crowd-${n}`)),
    );
    await Promise.all(registering);
    await expectError(
      crowded.registry.registerAgent(registration("one-too-many")),
      "exhausted",
      "AGENT_LIMIT",
    );
    await crowded.registry.registerAgent(registration("crowd-7", { slots: 2 }));
  });
});

function huge() {
  return Array.from({ length: 80 }, (_, n) => ({
    name: `huge.${n}`,
    version: "1.0.0",
    inputSchema: "x".repeat(16_000),
  }));
}
