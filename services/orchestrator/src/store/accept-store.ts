/** Notes that agents began. */
import { int8Array, type Queryable, uuidArray } from "@nexus/postgres";
import { statesThatAllow } from "../domain/task-state.ts";
import { taskUuid, toTaskId } from "./row-ids.ts";

const ACCEPT = {
  name: "accept",
  text: `
    UPDATE task_states s
       SET state = 'RUNNING', started_at = now() - i.ago_ms * interval '1 millisecond'
      FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS i(task_id, fence, ago_ms)
     WHERE s.task_id = i.task_id AND s.fence = i.fence AND s.state = ANY($4::task_state[])
    RETURNING s.task_id`,
};
const ACCEPTING_STATES = statesThatAllow("ACCEPT");

/** An agent's word that it began. */
export interface Acceptance {
  readonly taskId: string;
  readonly fence: bigint;
  /** How long ago it came in. */
  readonly agoMs: number;
}

/** Moves LEASED tasks to RUNNING; returns the ids of those that moved. */
export async function acceptTasks(
  client: Queryable,
  acceptances: readonly Acceptance[],
): Promise<Set<string>> {
  if (acceptances.length === 0) return new Set();
  const { rows } = await client.query<{ task_id: string }>(ACCEPT, [
    uuidArray(acceptances.map((item) => taskUuid(item.taskId))),
    int8Array(acceptances.map((item) => item.fence)),
    int8Array(acceptances.map((item) => Math.round(item.agoMs))),
    ACCEPTING_STATES,
  ]);
  return new Set(rows.map((row) => toTaskId(row.task_id)));
}
