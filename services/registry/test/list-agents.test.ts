import { AgentState } from "@nexus/proto/registry";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Bench,
  type Clients,
  createBench,
  expectError,
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

const scoped = (...scopes: string[]): Clients => replica.as({ sub: "scoped", scopes });

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
