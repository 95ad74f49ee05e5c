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
      reputations: [{ capability: "text.analyse", succeeded: 1n }],
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

describe("GetAgent", () => {
  it("hides agents of other namespaces", async () => {
    await replica.user.registry.registerAgent(registration("mine"));
    const stranger = replica.as({ sub: "eve", ns: "elsewhere" });
    await expectError(
      stranger.registry.getAgent({ agentId: "mine" }),
      "not_found",
      "AGENT_NOT_FOUND",
    );
  });

  it("needs the scope", async () => {
    await expectError(
      scoped("registry:agent:register").registry.getAgent({ agentId: "mine" }),
      "forbidden",
      "SCOPE_MISSING",
    );
  });
});

describe("ListAgents", () => {
  let lister: Clients;
  beforeAll(async () => {
    lister = replica.as({ sub: "ada", ns: "listing" });
    for (let n = 0; n < 7; n++) {
      const capabilities = [{ name: n % 2 === 0 ? "even" : "odd", version: "1.0.0" }];
      await lister.registry.registerAgent(
        registration(`agent-${n}`, { capabilities, labels: { half: n < 4 ? "first" : "second" } }),
      );
    }
    await replica.service.presence.reportPresence({
      routerId: "router-1",
      presences: [1, 2].map((n) => ({
        namespace: "listing",
        agentId: `agent-${n}`,
        epoch: 1n,
        state: AgentState.ONLINE,
        slots: 1,
      })),
    });
  });

  const ids = async (request: object) => {
    const { agents } = await lister.registry.listAgents(request);
    return agents.map(({ agentId }) => Number(agentId.slice(-1)));
  };

  it.each<[string, object, number[]]>([
    ["everyone by id", {}, [0, 1, 2, 3, 4, 5, 6]],
    ["a state", { states: [AgentState.ONLINE] }, [1, 2]],
    ["states", { states: [AgentState.LOST, AgentState.OFFLINE] }, [0, 3, 4, 5, 6]],
    ["a capability", { capability: "odd" }, [1, 3, 5]],
    ["labels", { labels: { half: "second" } }, [4, 5, 6]],
    ["labels nobody has", { labels: { half: "second", third: "x" } }, []],
    [
      "all of it",
      { states: [AgentState.ONLINE], capability: "even", labels: { half: "first" } },
      [2],
    ],
  ])("filters by %s", async (_name, request, expected) => {
    expect(await ids(request)).toEqual(expected);
  });

  it("goes through pages without losing anyone, also while agents come and go", async () => {
    const seen: string[] = [];
    let pageToken = "";
    do {
      const answer = await lister.registry.listAgents({ page: { pageSize: 3, pageToken } });
      seen.push(...answer.agents.map(({ agentId }) => agentId));
      expect(answer.agents.length).toBeLessThanOrEqual(3);
      pageToken = answer.page?.nextPageToken ?? "";
      if (seen.length === 3) await lister.registry.registerAgent(registration("agent-0a"));
    } while (pageToken !== "");
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6].map((n) => `agent-${n}`));
    await lister.registry.deregisterAgent({ requestId: requestId(), agentId: "agent-0a" });
  });

  it("ends a page before it grows too large for a message", async () => {
    const bulky = replica.as({ sub: "ada", ns: "bulky" });
    const capabilities = Array.from({ length: 50 }, (_, n) => ({
      name: `bulk.${n}`,
      version: "1.0.0",
      inputSchema: "x".repeat(16_000),
    }));
    for (const id of ["a", "b", "c"]) {
      await bulky.registry.registerAgent(registration(id, { capabilities }));
    }
    const first = await bulky.registry.listAgents({});
    expect(first.agents).toHaveLength(2);
    const pageToken = first.page?.nextPageToken ?? "";
    const second = await bulky.registry.listAgents({ page: { pageToken } });
    expect(second.agents.map(({ agentId }) => agentId)).toEqual(["c"]);
    expect(second.page?.nextPageToken).toBe("");
  });

  it("refuses a page token that it did not give out", async () => {
    await expectError(
      lister.registry.listAgents({ page: { pageToken: "made-up" } }),
      "invalid",
      "PAGE_TOKEN_INVALID",
    );
  });

  it("needs the scope", async () => {
    await expectError(scoped("mesh:*:*").registry.listAgents({}), "forbidden", "SCOPE_MISSING");
  });
});

describe("UpdateAgent", () => {
  it("replaces what is set and leaves the rest", async () => {
    const { user } = replica;
    const labels = { tier: "gold", zone: "a" };
    await user.registry.registerAgent(registration("patched", { labels, region: "eu", slots: 3 }));
    const { agent } = await user.registry.updateAgent({
      requestId: requestId(),
      agentId: "patched",
      labels: { labels: { tier: "tin" } },
      displayName: "Patched",
    });
    expect(agent).toMatchObject({
      labels: { tier: "tin" },
      displayName: "Patched",
      region: "eu",
      slots: 3,
      capabilities: [{ name: "text.analyse" }],
    });
    expect(Object.keys(agent!.labels)).toEqual(["tier"]);
    const cleared = await user.registry.updateAgent({
      requestId: requestId(),
      agentId: "patched",
      labels: {},
      region: "",
      capabilities: { capabilities: [{ name: "map.draw", version: "1.0.0" }] },
    });
    expect(cleared.agent).toMatchObject({ labels: {}, region: "", slots: 3 });
    expect(cleared.agent?.capabilities).toHaveLength(1);
  });

  it("refuses a lost update", async () => {
    const { user } = replica;
    const { agent } = await user.registry.registerAgent(registration("contested"));
    const expectedRevision = agent!.revision;
    const changes = ["one", "two", "three"].map((displayName) =>
      user.registry
        .updateAgent({
          requestId: requestId(),
          agentId: "contested",
          expectedRevision,
          displayName,
        })
        .then(
          () => "stored",
          (error: unknown) => (error as { reason: string }).reason,
        ),
    );
    expect((await Promise.all(changes)).sort()).toEqual([
      "REVISION_CONFLICT",
      "REVISION_CONFLICT",
      "stored",
    ]);
  });

  it("is carried out once for each request id", async () => {
    const { user } = replica;
    const { agent } = await user.registry.registerAgent(registration("once"));
    const request = {
      requestId: requestId(),
      agentId: "once",
      expectedRevision: agent!.revision,
      slots: 5,
    };
    const first = await user.registry.updateAgent(request);
    expect(await user.registry.updateAgent(request)).toEqual(first);
    await expectError(
      user.registry.updateAgent({ ...request, slots: 6 }),
      "conflict",
      "REQUEST_ID_REUSED",
    );
  });

  it.each([
    ["an agent that is not there", { agentId: "nobody" }, "not_found", "AGENT_NOT_FOUND"],
    ["no slots", { slots: 0 }, "invalid", "REQUEST_INVALID"],
    [
      "the same capability twice",
      { capabilities: { capabilities: twice() } },
      "invalid",
      "CAPABILITY_DUPLICATE",
    ],
  ] as const)("refuses %s", async (_name, changes, kind, reason) => {
    await replica.user.registry.registerAgent(registration("stubborn"));
    const request = { requestId: requestId(), agentId: "stubborn", ...changes };
    await expectError(replica.user.registry.updateAgent(request), kind, reason);
  });

  it("lets an agent change itself and nobody else, and nobody another namespace's", async () => {
    await replica.user.registry.registerAgent(registration("victim"));
    const update = () => ({ requestId: requestId(), agentId: "victim", slots: 9 });
    const other = replica.as({ sub: "attacker", kind: "agent" });
    await expectError(other.registry.updateAgent(update()), "forbidden", "AGENT_ID_MISMATCH");
    const own = replica.as({ sub: "victim", kind: "agent" });
    expect((await own.registry.updateAgent(update())).agent?.slots).toBe(9);
    const stranger = replica.as({ sub: "eve", ns: "elsewhere" });
    await expectError(stranger.registry.updateAgent(update()), "not_found", "AGENT_NOT_FOUND");
    await expectError(
      scoped("registry:agent:read").registry.updateAgent(update()),
      "forbidden",
      "SCOPE_MISSING",
    );
  });
});

describe("DeregisterAgent", () => {
  it("removes the record, its reputation and its presence", async () => {
    const { user, service } = replica;
    await connect(replica, "leaver");
    await service.outcome.reportOutcomes(reportOf(outcome("leaver", "task-leaver")));
    await user.registry.deregisterAgent({ requestId: requestId(), agentId: "leaver" });
    await expectError(
      user.registry.getAgent({ agentId: "leaver" }),
      "not_found",
      "AGENT_NOT_FOUND",
    );
    const { candidates } = await user.registry.discoverAgents({ text: "leaver" });
    expect(candidates).toEqual([]);
    const { agent } = await user.registry.registerAgent(registration("leaver"));
    expect(agent).toMatchObject({ reputations: [], state: AgentState.OFFLINE });
  });

  it("succeeds for an agent that is not there, once for each request id", async () => {
    const { user } = replica;
    const request = { requestId: requestId(), agentId: "ghost" };
    await user.registry.deregisterAgent(request);
    await user.registry.registerAgent(registration("ghost"));
    await user.registry.deregisterAgent(request);
    expect((await user.registry.getAgent({ agentId: "ghost" })).agent?.agentId).toBe("ghost");
  });

  it("lets an agent remove itself and nobody else, and nobody another namespace's", async () => {
    await replica.user.registry.registerAgent(registration("target"));
    const removal = () => ({ requestId: requestId(), agentId: "target" });
    const other = replica.as({ sub: "attacker", kind: "agent" });
    await expectError(other.registry.deregisterAgent(removal()), "forbidden", "AGENT_ID_MISMATCH");
    await replica.as({ sub: "eve", ns: "elsewhere" }).registry.deregisterAgent(removal());
    await replica.user.registry.getAgent({ agentId: "target" });
    await replica.as({ sub: "target", kind: "agent" }).registry.deregisterAgent(removal());
    await expectError(
      replica.user.registry.getAgent({ agentId: "target" }),
      "not_found",
      "AGENT_NOT_FOUND",
    );
    await expectError(
      scoped("registry:agent:read").registry.deregisterAgent(removal()),
      "forbidden",
      "SCOPE_MISSING",
    );
  });
});

function twice() {
  return [
    { name: "a", version: "1.0.0" },
    { name: "a", version: "1.0.0" },
  ];
}

function huge() {
  return Array.from({ length: 80 }, (_, n) => ({
    name: `huge.${n}`,
    version: "1.0.0",
    inputSchema: "x".repeat(16_000),
  }));
}
