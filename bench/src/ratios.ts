/** Figures beside others of the same run: NEXUS and its peers, logins and the bare hash. Pure. */
import type { Figure, FigureKey } from "./figure.ts";

const TASKS = "tasks_per_second";
const DURABLE = "durable_messages_per_second";
const EPHEMERAL = "ephemeral_messages_per_second";

/** Ours, and the other one that does the same: [ratio, ours, other]. */
const RATIOS: readonly (readonly [FigureKey, FigureKey, FigureKey])[] = [
  ["ratio_to_bullmq", TASKS, "bullmq_tasks_per_second"],
  ["ratio_to_bullmq_always", TASKS, "bullmq_always_tasks_per_second"],
  ["ratio_to_graphile", TASKS, "graphile_tasks_per_second"],
  ["ratio_to_graphile_local_queue", TASKS, "graphile_local_queue_tasks_per_second"],
  ["ratio_to_jetstream", DURABLE, "jetstream_messages_per_second"],
  ["ratio_to_jetstream_fanout", `fanout_${DURABLE}`, "jetstream_fanout_messages_per_second"],
  ["ratio_to_jetstream_queue", `queue_${DURABLE}`, "jetstream_queue_messages_per_second"],
  ["ratio_to_jetstream_always", DURABLE, "jetstream_always_messages_per_second"],
  ["ratio_to_nats_request", EPHEMERAL, "nats_request_messages_per_second"],
  ["ratio_to_nats_request_queue", `queue_${EPHEMERAL}`, "nats_request_queue_messages_per_second"],
  ["ratio_to_redis_streams", DURABLE, "redis_streams_messages_per_second"],
  [
    "ratio_to_redis_streams_fanout",
    `fanout_${DURABLE}`,
    "redis_streams_fanout_messages_per_second",
  ],
  ["ratio_to_redis_streams_queue", `queue_${DURABLE}`, "redis_streams_queue_messages_per_second"],
  ["ratio_to_redis_streams_always", DURABLE, "redis_streams_always_messages_per_second"],
  ["ratio_of_logins", "logins_per_second", "bare_hashes_per_second"],
];

/** Makes the ratios of what was measured: one for each pair that was tried, null for one whose other half was not measured. */
export function ratiosOf(figures: readonly Figure[]): Figure[] {
  const find = (key: FigureKey) => figures.find((figure) => figure.key === key);
  return RATIOS.flatMap(([key, ours, other]): Figure[] => {
    const own = find(ours)?.value ?? undefined;
    const measured = find(other);
    if (own === undefined || measured === undefined) return [];
    if (measured.value === null) return [{ key, value: null, load: measured.load }];
    return [{ key, value: own / measured.value, load: "this run" }];
  });
}
