import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type GetStatusResponse,
  GetStatusResponseSchema,
  ServiceHealth,
  type StatusService,
} from "@nexus/proto/gateway";
import { Health, HealthCheckResponse_ServingStatus } from "@nexus/proto/grpc-health";
import {
  type CallContext,
  type CallOptions,
  createRpcClient,
  type MethodImplementation,
  NOT_SERVING_PREFIX,
  type RpcChannel,
  type RpcClient,
} from "@nexus/rpc";
import { NEXUS_VERSION, NexusError } from "@nexus/shared";
import type { ObjectiveReport, Objectives } from "../domain/objectives.ts";

/** How long a service may take to say how it is. */
const CHECK_TIMEOUT_MS = 2_000;
/** Kept back of a caller's time, so that the answer about a silent service still arrives. */
const ANSWER_MARGIN_MS = 200;

type HealthClient = RpcClient<typeof Health>;

/** Asks every service for its health, all at once. What is wrong is in the answer, never an error. */
export type StatusReader = (options: CallOptions) => Promise<GetStatusResponse>;

/** Creates the reader of the services' health. */
export function createStatusReader(
  upstreams: ReadonlyMap<string, RpcChannel>,
  objectives: Objectives,
): StatusReader {
  const clients = [...upstreams].map(
    ([name, channel]) => [name, createRpcClient(Health, channel)] as const,
  );
  return async (options) => {
    const timeoutMs = Math.min(options.timeoutMs ?? CHECK_TIMEOUT_MS, CHECK_TIMEOUT_MS);
    const checks = clients.map(([name, client]) =>
      checkService(name, client, { ...options, timeoutMs }),
    );
    const own = {
      name: "gateway",
      health: ServiceHealth.SERVING,
      latency: durationFromMs(0),
      message: "",
    };
    const services = [own, ...(await Promise.all(checks))];
    services.sort((a, b) => a.name.localeCompare(b.name));
    const objectivesNow = objectives.report().map(toObjective);
    return create(GetStatusResponseSchema, {
      version: NEXUS_VERSION,
      services,
      objectives: objectivesNow,
    });
  };
}

function toObjective(report: ObjectiveReport) {
  const { name, objective, met, budgetRemaining, burnRateHour, burnRateMinutes } = report;
  return {
    name,
    objective,
    window: durationFromMs(report.windowMs),
    calls: BigInt(report.total),
    badCalls: BigInt(report.bad),
    met,
    budgetRemaining,
    burnRateHour,
    burnRateMinutes,
  };
}

/** Creates the handler of GetStatus; `admit` refuses callers that call too often. */
export function createGetStatus(
  read: StatusReader,
  admit: (ctx: CallContext) => void,
): MethodImplementation<typeof StatusService.method.getStatus> {
  return (_request, ctx) => {
    admit(ctx);
    const leftMs = (ctx.deadlineAtMs ?? Number.POSITIVE_INFINITY) - Date.now();
    return read({ parent: ctx, timeoutMs: Math.max(0, leftMs - ANSWER_MARGIN_MS) });
  };
}

async function checkService(name: string, client: HealthClient, options: CallOptions) {
  const startedAtMs = performance.now();
  try {
    const { status } = await client.check({ service: "" }, options);
    const latency = durationFromMs(Math.round(performance.now() - startedAtMs));
    const serving = status === HealthCheckResponse_ServingStatus.SERVING;
    const health = serving ? ServiceHealth.SERVING : ServiceHealth.NOT_SERVING;
    const message = serving ? "" : await whyNot(client, options);
    return { name, health, latency, message };
  } catch (error) {
    return { name, health: ServiceHealth.UNREACHABLE, message: NexusError.from(error).message };
  }
}

const UNSAID = "It is starting, draining, or misses something it needs.";
const REASONS: Readonly<Record<string, string>> = {
  sealed: "It is sealed. Unseal it: `nexus vault unseal` on its machine, or SealService.",
};

/** What a service that does not serve says of it. */
async function whyNot(client: HealthClient, options: CallOptions): Promise<string> {
  // It answered a moment ago; if it does not now, there is nothing more to say of it.
  const statuses = await client.list({}, options).then(
    (answer) => answer.statuses,
    () => ({}),
  );
  const said = Object.keys(statuses).find((one) => one.startsWith(NOT_SERVING_PREFIX));
  return REASONS[said?.slice(NOT_SERVING_PREFIX.length) ?? ""] ?? UNSAID;
}
