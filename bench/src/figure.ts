/** What the bench can measure: the one list of keys, with the unit and the target of each. Pure. */

interface FigureInfo {
  readonly about: string;
  readonly unit: string;
  /** From the design's targets: the promise, then the aim. Left out where nothing was promised. */
  readonly target?: string;
}

const QUANTILES = ["p50", "p95", "p99"] as const;

type FlowKey<N extends string> =
  | `${N}_messages_per_second`
  | `${N}_message_${(typeof QUANTILES)[number]}_ms`;

/** The figures of one flow of messages: a rate, and three quantiles of the time to the outcome. */
function flow<N extends string>(name: N, about: string, target?: string) {
  const rate = { about, unit: "1/s", ...(target === undefined ? {} : { target }) };
  return Object.fromEntries([
    [`${name}_messages_per_second`, rate],
    ...QUANTILES.map((quantile) => [
      `${name}_message_${quantile}_ms`,
      { about: `${about}, to the outcome, ${quantile}`, unit: "ms" },
    ]),
  ]) as Readonly<Record<FlowKey<N>, FigureInfo>>;
}

/** Every single figure by its key in the JSON file. Keys are stable: graphs over many runs are drawn by them. */
export const FIGURES = {
  tasks_per_second: {
    about: "tasks completed durably",
    unit: "1/s",
    target: "> 1 000, aim 10 000",
  },
  wal_kib_per_task: { about: "write-ahead log of a task", unit: "KiB" },
  commits_per_task: { about: "commits of a task", unit: "1" },
  rows_written_per_task: { about: "rows written by a task", unit: "1" },
  dead_tuples_per_task: { about: "dead rows left by a task", unit: "1" },
  saturated_assignment_p50_ms: { about: "task assignment at saturation, p50", unit: "ms" },
  saturated_assignment_p95_ms: { about: "task assignment at saturation, p95", unit: "ms" },
  saturated_assignment_p99_ms: { about: "task assignment at saturation, p99", unit: "ms" },
  assignment_p50_ms: { about: "task assignment, p50", unit: "ms" },
  assignment_p95_ms: { about: "task assignment, p95", unit: "ms", target: "< 100, aim < 10" },
  assignment_p99_ms: { about: "task assignment, p99", unit: "ms" },
  queue_p50_ms: { about: "ready to leased in the database, p50", unit: "ms" },
  queue_p95_ms: { about: "ready to leased in the database, p95", unit: "ms" },
  submit_to_assignment_p50_ms: { about: "submit to assignment, p50", unit: "ms" },
  submit_to_assignment_p95_ms: { about: "submit to assignment, p95", unit: "ms" },
  submit_to_assignment_p99_ms: { about: "submit to assignment, p99", unit: "ms" },
  submit_to_completed_p50_ms: { about: "submit to job seen completed, p50", unit: "ms" },
  submit_to_completed_p95_ms: { about: "submit to job seen completed, p95", unit: "ms" },
  submit_to_completed_p99_ms: { about: "submit to job seen completed, p99", unit: "ms" },
  durable_completion_p99_ms: { about: "created to ended in the database, p99", unit: "ms" },
  backlog_slope_per_second: { about: "growth of the backlog", unit: "1/s", target: "0" },
  bullmq_tasks_per_second: { about: "peer BullMQ, jobs completed", unit: "1/s" },
  bullmq_always_tasks_per_second: { about: "peer BullMQ, fsync always", unit: "1/s" },
  graphile_tasks_per_second: { about: "peer graphile-worker, jobs completed", unit: "1/s" },
  graphile_local_queue_tasks_per_second: {
    about: "peer graphile-worker, local queue",
    unit: "1/s",
  },
  ratio_to_bullmq: { about: "tasks / BullMQ", unit: "x", target: "aim > 1" },
  ratio_to_bullmq_always: { about: "tasks / BullMQ, fsync always", unit: "x", target: "aim > 1" },
  ratio_to_graphile: { about: "tasks / graphile-worker", unit: "x", target: "aim > 1" },
  ratio_to_graphile_local_queue: {
    about: "tasks / graphile-worker, local queue",
    unit: "x",
    target: "aim > 1",
  },
  claims_per_second: { about: "claims, nothing else waits", unit: "1/s" },
  claims_behind_new_backlog_per_second: {
    about: "claims right behind submitting a backlog",
    unit: "1/s",
  },
  claims_behind_backlog_per_second: { about: "claims beside a backlog", unit: "1/s" },
  claims_backlog_ratio: { about: "claims beside a backlog / without", unit: "x", target: "> 0.9" },
  messages_per_second: {
    about: "messages sent, each with its outcome",
    unit: "1/s",
    target: "> 10 000, aim 50 000",
  },
  ...flow("ephemeral", "ephemeral messages", "aim 50 000"),
  ...flow("durable", "durable messages, each committed", "aim 15 000"),
  ...flow("fanout_ephemeral", "ephemeral messages to many, taken in"),
  ...flow("fanout_durable", "durable messages to many, taken in"),
  ...flow("queue_ephemeral", "ephemeral messages to any one of many"),
  ...flow("queue_durable", "durable messages to any one of many"),
  steady_ephemeral_message_p50_ms: { about: "ephemeral message at 10 000/s, p50", unit: "ms" },
  steady_ephemeral_message_p95_ms: {
    about: "ephemeral message at 10 000/s, p95",
    unit: "ms",
    target: "aim < 5",
  },
  steady_ephemeral_message_p99_ms: { about: "ephemeral message at 10 000/s, p99", unit: "ms" },
  steady_durable_message_p50_ms: { about: "durable message at 10 000/s, p50", unit: "ms" },
  steady_durable_message_p95_ms: {
    about: "durable message at 10 000/s, p95",
    unit: "ms",
    target: "aim < 5",
  },
  steady_durable_message_p99_ms: { about: "durable message at 10 000/s, p99", unit: "ms" },
  ...flow("jetstream", "peer JetStream"),
  ...flow("jetstream_fanout", "peer JetStream, to many, taken in"),
  ...flow("jetstream_queue", "peer JetStream, to any one of many"),
  ...flow("jetstream_always", "peer JetStream, sync always"),
  ...flow("nats_request", "peer NATS request/reply"),
  ...flow("nats_request_queue", "peer NATS request/reply, to any one of many"),
  ...flow("redis_streams", "peer Redis Streams"),
  ...flow("redis_streams_fanout", "peer Redis Streams, to many, taken in"),
  ...flow("redis_streams_queue", "peer Redis Streams, to any one of many"),
  ...flow("redis_streams_always", "peer Redis Streams, fsync always"),
  steady_jetstream_message_p95_ms: { about: "peer JetStream at 10 000/s, p95", unit: "ms" },
  steady_jetstream_always_message_p95_ms: {
    about: "peer JetStream, sync always, at 10 000/s, p95",
    unit: "ms",
  },
  steady_nats_request_message_p95_ms: {
    about: "peer NATS request/reply at 10 000/s, p95",
    unit: "ms",
  },
  steady_redis_streams_message_p95_ms: { about: "peer Redis Streams at 10 000/s, p95", unit: "ms" },
  steady_redis_streams_always_message_p95_ms: {
    about: "peer Redis Streams, fsync always, at 10 000/s, p95",
    unit: "ms",
  },
  ratio_to_jetstream: { about: "durable / JetStream", unit: "x", target: "aim > 1" },
  ratio_to_jetstream_fanout: { about: "durable / JetStream, to many", unit: "x" },
  ratio_to_jetstream_queue: { about: "durable / JetStream, to any one", unit: "x" },
  ratio_to_jetstream_always: { about: "durable / JetStream, sync always", unit: "x" },
  ratio_to_nats_request: { about: "ephemeral / NATS request/reply", unit: "x", target: "aim > 1" },
  ratio_to_nats_request_queue: { about: "ephemeral / NATS request/reply, any one", unit: "x" },
  ratio_to_redis_streams: { about: "durable / Redis Streams", unit: "x", target: "aim > 1" },
  ratio_to_redis_streams_fanout: { about: "durable / Redis Streams, to many", unit: "x" },
  ratio_to_redis_streams_queue: { about: "durable / Redis Streams, to any one", unit: "x" },
  ratio_to_redis_streams_always: { about: "durable / Redis Streams, fsync always", unit: "x" },
  mesh_ephemeral_per_second: {
    about: "ephemeral messages of two pairs",
    unit: "1/s",
    target: "aim 50 000",
  },
  mesh_ephemeral_p95_ms: { about: "the same, to the outcome, p95", unit: "ms" },
  mesh_durable_per_second: {
    about: "durable messages of two pairs, each committed",
    unit: "1/s",
    target: "aim 15 000",
  },
  mesh_durable_p95_ms: { about: "the same, to the outcome, p95", unit: "ms" },
  state_updates_per_second: {
    about: "writes of shared state, each committed",
    unit: "1/s",
    target: "aim 15 000",
  },
  state_put_p95_ms: { about: "write of shared state, p95", unit: "ms", target: "aim < 10" },
  state_watch_p95_ms: { about: "write to its watcher, p95", unit: "ms", target: "aim < 10" },
  state_watch_here_p95_ms: { about: "write to a watcher on the same replica, p95", unit: "ms" },
  state_watch_elsewhere_p50_ms: { about: "write to a watcher on another replica, p50", unit: "ms" },
  state_watch_elsewhere_p95_ms: { about: "write to a watcher on another replica, p95", unit: "ms" },
  idle_sessions: { about: "idle sessions of one mesh-router", unit: "1", target: "10 000" },
  idle_sessions_opened_per_second: { about: "sessions opened", unit: "1/s" },
  idle_sessions_router_mib: {
    about: "resident memory of the mesh-router with them",
    unit: "MiB",
    target: "< 1 024",
  },
  idle_sessions_gateway_mib: { about: "resident memory of the gateway with them", unit: "MiB" },
  idle_session_cpu_us: { about: "CPU of an idle session a second, both", unit: "µs" },
  state_gets_per_second: { about: "reads of shared state, each of what is committed", unit: "1/s" },
  message_p50_ms: { about: "message to its outcome, p50", unit: "ms" },
  message_p95_ms: { about: "message to its outcome, p95", unit: "ms", target: "< 20, aim < 5" },
  message_p99_ms: { about: "message to its outcome, p99", unit: "ms" },
  request_p50_ms: { about: "request to its reply, p50", unit: "ms" },
  request_p95_ms: { about: "request to its reply, p95", unit: "ms" },
  request_p99_ms: { about: "request to its reply, p99", unit: "ms" },
  registrations_per_second: { about: "agents registered", unit: "1/s" },
  discovery_p50_ms: { about: "agent discovery, p50", unit: "ms" },
  discovery_p95_ms: { about: "agent discovery, p95", unit: "ms", target: "< 1 000, aim < 5" },
  discovery_p99_ms: { about: "agent discovery, p99", unit: "ms" },
  discovery_rare_p95_ms: { about: "discovery, rare capability, p95", unit: "ms" },
  discovery_common_p95_ms: { about: "discovery, common capability, p95", unit: "ms" },
  discovery_text_p95_ms: { about: "discovery, by words and tags, p95", unit: "ms" },
  token_checks_per_second: {
    about: "token checks, token seen before",
    unit: "1/s",
    target: "> 100, aim 20 000",
  },
  first_token_checks_per_second: { about: "token checks, token seen first", unit: "1/s" },
  first_token_check_p95_ms: {
    about: "token check, token seen first, p95",
    unit: "ms",
    target: "< 200, aim < 0.2",
  },
  client_grants_per_second: {
    about: "tokens granted for client secrets",
    unit: "1/s",
    target: "> 100, aim 500",
  },
  client_grant_p95_ms: { about: "token grant, p95", unit: "ms", target: "< 200" },
  fleet_grants_per_second: {
    about: "tokens granted for client secrets, each of another agent",
    unit: "1/s",
    target: "aim 500",
  },
  logins_per_second: { about: "password logins", unit: "1/s", target: "the hash's own limit" },
  bare_hashes_per_second: { about: "bare PBKDF2 hashes", unit: "1/s" },
  ratio_of_logins: { about: "logins / bare hashes", unit: "x", target: "aim > 0.9" },
  encrypts_per_second: { about: "encryptions, one a call", unit: "1/s" },
  decrypts_per_second: { about: "decryptions, one a call", unit: "1/s" },
  batched_encrypts_per_second: {
    about: "encryptions, 256 a call",
    unit: "1/s",
    target: "aim 3 000",
  },
  batched_decrypts_per_second: { about: "decryptions, 256 a call", unit: "1/s" },
  bare_encrypts_per_second: { about: "bare AES-256-GCM", unit: "1/s" },
  audit_appends_per_second: { about: "entries placed in the audit log", unit: "1/s" },
  audit_proofs_per_second: { about: "inclusion proofs, asked for and checked", unit: "1/s" },
  audit_proof_checks_per_second: { about: "inclusion proofs checked", unit: "1/s" },
  audit_leaves_verified_per_second: {
    about: "leaves checked by nexus audit verify",
    unit: "1/s",
    target: "aim 100 000",
  },
  waiting_bytes_per_task: { about: "memory of a ready task, in jobs of 100", unit: "B" },
  waiting_resident_mib: { about: "a backlog, in jobs of 100", unit: "MiB", target: "< 512" },
  waiting_single_bytes_per_task: { about: "memory of a ready task, in jobs of one", unit: "B" },
  waiting_single_resident_mib: { about: "a backlog, in jobs of one", unit: "MiB", target: "< 512" },
  routing_nexus_success_percent: { about: "routing: tasks that succeed", unit: "%" },
  routing_nexus_p95_ms: { about: "routing: arrival to success, p95", unit: "ms" },
  routing_random_success_percent: { about: "random choice: tasks that succeed", unit: "%" },
  routing_random_p95_ms: { about: "random choice: arrival to success, p95", unit: "ms" },
  routing_round_robin_success_percent: { about: "round robin: tasks that succeed", unit: "%" },
  routing_round_robin_p95_ms: { about: "round robin: arrival to success, p95", unit: "ms" },
  routing_least_loaded_success_percent: { about: "least loaded: tasks that succeed", unit: "%" },
  routing_least_loaded_p95_ms: { about: "least loaded: arrival to success, p95", unit: "ms" },
} as const satisfies Readonly<Record<string, FigureInfo>>;

/** The key of one figure. */
export type FigureKey = keyof typeof FIGURES;

/** The name of a flow of messages. */
export type FlowName = FigureKey extends infer K
  ? K extends `${infer N}_messages_per_second`
    ? N
    : never
  : never;

/** One of a peer. */
export type PeerFlowName = Extract<FlowName, `${"jetstream" | "nats" | "redis"}${string}`>;

/** A peer that is measured at the steady rate too. */
export type SteadyPeerName = FigureKey extends infer K
  ? K extends `steady_${infer N}_message_p95_ms`
    ? Extract<N, PeerFlowName>
    : never
  : never;

/** Figures that exist once per service: in the JSON file an object by service. */
export const SERVICE_FIGURES = {
  cpu_us_per_task: { about: "CPU of a task", unit: "µs" },
  memory_rest_mib: { about: "resident memory at rest", unit: "MiB", target: "< 256, aim < 150" },
  memory_mib: { about: "resident memory after the load", unit: "MiB", target: "< 256" },
} as const satisfies Readonly<Record<string, FigureInfo>>;

/** The key of a group of figures, one per service. */
export type ServiceFigureKey = keyof typeof SERVICE_FIGURES;

/** One measured value with the load under which it was measured, in words. */
export interface Figure {
  readonly key: FigureKey | ServiceFigureKey;
  /** The service, or another process, for a key of SERVICE_FIGURES. */
  readonly service?: string;
  /** null when it was not measured, for a reason that stands in `load` and is no failure. */
  readonly value: number | null;
  readonly load: string;
}

/** Returns what is known of a figure whatever its value. */
export function infoOf(key: Figure["key"]): FigureInfo {
  return key in FIGURES ? FIGURES[key as FigureKey] : SERVICE_FIGURES[key as ServiceFigureKey];
}
