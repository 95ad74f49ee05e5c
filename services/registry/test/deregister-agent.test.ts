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
  replica = await bench.start();
});
afterAll(() => bench.close());

const scoped = (...scopes: string[]): Clients => replica.as({ sub: "scoped", scopes });

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
    expect(agent).toMatchObject({
      reputations: [{ evidence: 0, succeeded: 0n }],
      state: AgentState.OFFLINE,
    });
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
