import { afterAll, beforeAll, describe, it } from "vitest";
import {
  type Bench,
  type Clients,
  createBench,
  expectError,
  type Replica,
  registration,
} from "./_helpers.ts";

let bench: Bench;
let replica: Replica;
beforeAll(async () => {
  bench = await createBench();
  replica = await bench.start();
});
afterAll(() => bench.close());

const scoped = (...scopes: string[]): Clients => replica.as({ sub: "scoped", scopes });

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
