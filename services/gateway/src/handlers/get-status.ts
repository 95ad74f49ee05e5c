import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { GetStatusResponseSchema, ServiceHealth, type StatusService } from "@nexus/proto/gateway";
import { Health, HealthCheckResponse_ServingStatus } from "@nexus/proto/grpc-health";
import {
  createRpcClient,
  type MethodImplementation,
  type RpcChannel,
  type RpcClient,
} from "@nexus/rpc";
import { NEXUS_VERSION, NexusError } from "@nexus/shared";

/** How long a service may take to say how it is. */
const CHECK_TIMEOUT_MS = 2_000;

type HealthClient = RpcClient<typeof Health>;

/** Asks every service for its health, all at once. What is wrong is in the answer, never an error. */
export function createGetStatus(
  upstreams: ReadonlyMap<string, RpcChannel>,
): MethodImplementation<typeof StatusService.method.getStatus> {
  const clients = [...upstreams].map(
    ([name, channel]) => [name, createRpcClient(Health, channel)] as const,
  );
  return async () => {
    const others = await Promise.all(clients.map(([name, client]) => checkService(name, client)));
    const own = {
      name: "gateway",
      health: ServiceHealth.SERVING,
      latency: durationFromMs(0),
      message: "",
    };
    const services = [own, ...others].sort((a, b) => a.name.localeCompare(b.name));
    return create(GetStatusResponseSchema, { version: NEXUS_VERSION, services });
  };
}

async function checkService(name: string, client: HealthClient) {
  const startedAtMs = performance.now();
  try {
    const { status } = await client.check({ service: "" }, { timeoutMs: CHECK_TIMEOUT_MS });
    const latency = durationFromMs(Math.round(performance.now() - startedAtMs));
    const serving = status === HealthCheckResponse_ServingStatus.SERVING;
    const health = serving ? ServiceHealth.SERVING : ServiceHealth.NOT_SERVING;
    const message = serving ? "" : "It is starting, draining, or misses something it needs.";
    return { name, health, latency, message };
  } catch (error) {
    return { name, health: ServiceHealth.UNREACHABLE, message: NexusError.from(error).message };
  }
}
