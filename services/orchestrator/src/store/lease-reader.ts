/** Reads how leases stand, for claims that memory cannot answer. */
import type { Queryable } from "@nexus/postgres";
import type { LeaseClaim, LeaseStanding } from "../domain/lease-check.ts";
import { taskUuid, toJobId, toTaskId } from "./row-ids.ts";

/** By the task's key throughout: an EXISTS over the view of attempts may be planned as one look at all of them. */
const READ = {
  name: "lease-read-standing",
  text: `
    SELECT i.task_id, i.fence, t.namespace, t.job_id,
           CASE WHEN s.fence <> 0 AND s.fence = i.fence THEN s.agent_id END AS agent_id,
           (extract(epoch FROM s.deadline_at - now()) * 1000)::float8 AS remaining_ms,
           (s.outcome IS NOT NULL AND s.last_fence = i.fence) OR p.found IS NOT NULL AS ended
      FROM unnest($1::uuid[], $2::bigint[]) AS i(task_id, fence)
      JOIN tasks t ON t.task_id = i.task_id
      LEFT JOIN task_states s ON s.task_id = i.task_id
      LEFT JOIN LATERAL (
             SELECT true AS found FROM past_attempts WHERE task_id = i.task_id AND fence = i.fence LIMIT 1
           ) p ON true`,
};

interface StandingRow {
  readonly task_id: string;
  readonly fence: string;
  readonly namespace: string;
  readonly job_id: string;
  readonly agent_id: string | null;
  readonly remaining_ms: number | null;
  readonly ended: boolean;
}

/** Names the lease of a claim among those of one batch. */
export function leaseKey({ taskId, fence }: Pick<LeaseClaim, "taskId" | "fence">): string {
  return `${taskId}:${fence}`;
}

/** Reads how leases stand, by leaseKey; a task that does not exist is absent. Ids must have their form. */
export async function readStandings(
  client: Queryable,
  claims: readonly LeaseClaim[],
): Promise<Map<string, LeaseStanding>> {
  if (claims.length === 0) return new Map();
  const { rows } = await client.query<StandingRow>(READ, [
    claims.map((claim) => taskUuid(claim.taskId)),
    claims.map((claim) => claim.fence.toString()),
  ]);
  return new Map(
    rows.map((row) => {
      const key = leaseKey({ taskId: toTaskId(row.task_id), fence: BigInt(row.fence) });
      return [key, toStanding(row)];
    }),
  );
}

function toStanding(row: StandingRow): LeaseStanding {
  const { namespace } = row;
  if (row.agent_id === null) return { kind: row.ended ? "over" : "unknown", namespace };
  return {
    kind: "live",
    namespace,
    agentId: row.agent_id,
    jobId: toJobId(row.job_id),
    remainingMs: row.remaining_ms ?? 0,
  };
}
