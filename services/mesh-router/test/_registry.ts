/** A registry that only shows agents. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { RegistryService, type WatchAgentsResponseSchema } from "@nexus/proto/registry";
import { createRpcServer, type ServiceImplementation } from "@nexus/rpc";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import { freePort, type TestIdentity } from "@nexus/testkit";

const STOP_GRACE_MS = 200;

/** Who can do what: a capability for each agent. */
export type Skills = Readonly<Record<string, string>>;

/** A registry that serves. */
export interface RunningRegistry {
  readonly address: string;
  stop(): Promise<void>;
}

/** Starts one. */
export async function startRegistry(
  { identity }: { readonly identity: TestIdentity },
  skills: Skills,
): Promise<RunningRegistry> {
  const port = await freePort();
  const server = createRpcServer({
    service: "registry",
    host: "127.0.0.1",
    port,
    logger: createSilentLogger(),
    metrics: createMetrics("registry"),
    verifier: identity.verifier,
  }).add(RegistryService, registryThatOnlyShows(skills));
  await server.listen();
  return { address: `127.0.0.1:${port}`, stop: () => server.close(STOP_GRACE_MS) };
}

function registryThatOnlyShows(skills: Skills): ServiceImplementation<typeof RegistryService> {
  const never = async (): Promise<never> => {
    throw new NexusError({
      kind: "unimplemented",
      reason: "METHOD_NOT_FOUND",
      message: "not here",
    });
  };
  return {
    registerAgent: never,
    getAgent: never,
    listAgents: never,
    updateAgent: never,
    deregisterAgent: never,
    discoverAgents: never,
    watchAgents: async function* watchAgents(_request, ctx) {
      yield snapshot(skills);
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
    },
  };
}

function snapshot(skills: Skills): MessageInitShape<typeof WatchAgentsResponseSchema> {
  const agents = Object.entries(skills).map(([agentId, name]) => ({
    namespace: "default",
    agentId,
    capabilities: [{ name, version: "1.0.0" }],
  }));
  return { agents, snapshotComplete: true };
}
