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

/** The replicas of a service, each by its channel. */
export interface KnownReplicas {
  channels(): Promise<readonly RpcChannel[]>;
}

/** Creates the reader of the services' health. */
export function createStatusReader(
  upstreams: ReadonlyMap<string, KnownReplicas>,
  objectives: Objectives,
): StatusReader {
  return async (options) => {
    const timeoutMs = Math.min(options.timeoutMs ?? CHECK_TIMEOUT_MS, CHECK_TIMEOUT_MS);
    const checks = [...upstreams].map(([name, replicas]) =>
      checkService(name, replicas, { ...options, timeoutMs }),
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

/** How one replica is. */
interface ReplicaHealth {
  readonly health: ServiceHealth;
  /** Undefined when there was no answer. */
  readonly latencyMs?: number;
  readonly message: string;
}

/** A service is as well as its best replica, and says what the others lack. */
async function checkService(name: string, known: KnownReplicas, options: CallOptions) {
  const channels = await known.channels();
  const found = await Promise.all(channels.map((channel) => checkReplica(channel, options)));
  const best = found.reduce((one, other) => (other.health < one.health ? other : one));
  const servingOnes = found.filter(isServing);
  const failed = found.find((one) => !isServing(one));
  const latencies = found.flatMap(({ latencyMs }) => latencyMs ?? []);
  const missing = found.length - servingOnes.length;
  const part = `${missing} of ${found.length} replicas ${missing === 1 ? "does" : "do"} not serve: `;
  return {
    name,
    health: best.health,
    ...(latencies.length === 0 ? {} : { latency: durationFromMs(Math.max(...latencies)) }),
    message: failed === undefined ? "" : `${found.length > 1 ? part : ""}${failed.message}`,
    replicas: found.length,
    replicasServing: servingOnes.length,
  };
}

function isServing({ health }: ReplicaHealth): boolean {
  return health === ServiceHealth.SERVING;
}

async function checkReplica(channel: RpcChannel, options: CallOptions): Promise<ReplicaHealth> {
  const client = createRpcClient(Health, channel);
  const startedAtMs = performance.now();
  try {
    const { status } = await client.check({ service: "" }, options);
    const latencyMs = Math.round(performance.now() - startedAtMs);
    const serving = status === HealthCheckResponse_ServingStatus.SERVING;
    const health = serving ? ServiceHealth.SERVING : ServiceHealth.NOT_SERVING;
    return { health, latencyMs, message: serving ? "" : await whyNot(client, options) };
  } catch (error) {
    return { health: ServiceHealth.UNREACHABLE, message: NexusError.from(error).message };
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
