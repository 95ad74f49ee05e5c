import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Bench,
  type Clients,
  createBench,
  expectError,
  type Replica,
  registration,
  requestId,
  twice,
} from "./_helpers.ts";

let bench: Bench;
let replica: Replica;
beforeAll(async () => {
  bench = await createBench();
  replica = await bench.start();
});
afterAll(() => bench.close());

const scoped = (...scopes: string[]): Clients => replica.as({ sub: "scoped", scopes });

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
