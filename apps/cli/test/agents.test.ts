/** `nexus agents list`, against stand-ins for registry and mesh. */
import { MessagingService } from "@nexus/proto/mesh";
import { AgentState, RegistryService } from "@nexus/proto/registry";
import { createRpcServer } from "@nexus/rpc";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import { createTempFolder, createTestIdentity, type TempFolder } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../src/program.ts";
import { createFakeTerminal } from "../src/terminal.fake.ts";
import { only } from "./_only.ts";

const identity = createTestIdentity();
const STATES = {
  leaving: AgentState.DRAINING,
  broken: AgentState.DRAINING,
  fine: AgentState.ONLINE,
};
let folder: TempFolder;
let env: NodeJS.ProcessEnv;
let close: () => Promise<void>;
let isTold = true;

beforeAll(async () => {
  folder = await createTempFolder("nexus-cli-agents");
  const server = createRpcServer({
    service: "gateway",
    host: "127.0.0.1",
    port: 0,
    logger: createSilentLogger(),
    metrics: createMetrics("gateway"),
    verifier: identity.verifier,
  });
  const agents = Object.entries(STATES).map(([agentId, state]) => ({ agentId, state }));
  server.add(RegistryService, only(RegistryService, { listAgents: () => ({ agents }) }));
  server.add(
    MessagingService,
    only(MessagingService, {
      listRoutes: () => {
        if (!isTold) throw untold();
        return {
          routes: agents.map(({ agentId }) => ({ agentId, attached: agentId !== "broken" })),
        };
      },
    }),
  );
  const { address } = await server.listen();
  close = () => server.close(0);
  const token = await identity.token({ sub: "ada" });
  env = { NEXUS_CONFIG_DIR: folder.path, NEXUS_GATEWAY: address, NEXUS_TOKEN: token };
});

afterAll(async () => {
  await close();
  await folder.remove();
});

function untold(): NexusError {
  return new NexusError({ kind: "forbidden", reason: "SCOPE_MISSING", message: "No." });
}

/** What the list says of each agent. */
async function listed(): Promise<Record<string, string>> {
  const { terminal, stdout } = createFakeTerminal();
  const { signal } = new AbortController();
  expect(await run({ argv: ["agents", "list"], env, terminal, signal })).toBe(0);
  const rows = stdout().trim().split("\n").slice(1);
  return Object.fromEntries(rows.map((row) => row.split(/ +/).slice(0, 2)));
}

describe("nexus agents list", () => {
  it("tells an agent whose stream broke from one that shuts down", async () => {
    isTold = true;
    expect(await listed()).toEqual({ leaving: "draining", broken: "reconnecting", fine: "online" });
  });

  it("says the registry's word to whom the mesh does not tell", async () => {
    isTold = false;
    expect(await listed()).toEqual({ leaving: "draining", broken: "draining", fine: "online" });
  });
});
