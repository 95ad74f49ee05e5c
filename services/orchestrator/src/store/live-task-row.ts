/** The columns from which a task that waits or runs is brought into memory. */
import { type LiveTask, toLiveSpec } from "../domain/live-task.ts";
import { toJobId, toTaskId } from "./row-ids.ts";
import { readSpec, type StoredSpec } from "./spec-row.ts";
import { READY_AT } from "./state-row.ts";

/** Select list for LiveTaskRow, over `tasks t`, `task_states s`, which a task that waits may lack, and `jobs j`. */
export const LIVE_TASK_COLUMNS = `
  t.task_id, t.job_id, t.namespace, t.task_key, t.spec, t.priority, t.planning, t.sink, t.has_upstream,
  j.traceparent, coalesce(s.attempts, 0) AS attempts, coalesce(s.charged, 0) AS charged,
  coalesce(s.losses, 0) AS losses, coalesce(s.crowded, 0) AS crowded, coalesce(s.agent_id, '') AS last_agent_id, s.failure_reason, s.wait_ms::float8 AS wait_ms,
  (extract(epoch FROM ${READY_AT}) * 1000)::float8 AS ready_at_ms`;

/** A row of LIVE_TASK_COLUMNS. */
export interface LiveTaskRow {
  readonly task_id: string;
  readonly job_id: string;
  readonly namespace: string;
  readonly task_key: string;
  readonly spec: StoredSpec;
  readonly priority: number;
  readonly planning: boolean;
  readonly sink: boolean;
  readonly has_upstream: boolean;
  readonly traceparent: string;
  readonly attempts: number;
  readonly charged: number;
  readonly losses: number;
  readonly crowded: number;
  readonly last_agent_id: string;
  readonly failure_reason: string | null;
  readonly wait_ms: number | null;
  readonly ready_at_ms: number | null;
}

/** Makes the task from its row. A failure on a task that still waits is its last attempt's, so its agent is avoided. */
export function toLiveTask(row: LiveTaskRow): LiveTask {
  return {
    taskId: toTaskId(row.task_id),
    jobId: toJobId(row.job_id),
    namespace: row.namespace,
    key: row.task_key,
    spec: toLiveSpec(readSpec(row.spec)),
    priority: row.priority,
    planning: row.planning,
    sink: row.sink,
    hasUpstream: row.has_upstream,
    attempts: row.attempts,
    charged: row.charged,
    ...(row.crowded === 0 ? {} : { crowded: row.crowded }),
    ...(row.losses === 0 ? {} : { losses: row.losses }),
    readyAtMs: row.ready_at_ms ?? 0,
    ...(row.wait_ms === null ? {} : { waitMs: row.wait_ms }),
    avoidAgentId: row.failure_reason === null ? "" : row.last_agent_id,
    preferAgentId: "",
    traceparent: row.traceparent,
  };
}
