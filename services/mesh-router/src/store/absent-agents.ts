/** Removes what is kept of agents that have been without a session for too long. */
import type { Pool } from "@nexus/postgres";
import { SUBSCRIPTION_CHANNEL } from "./subscription-store.ts";

/** The lock on an agent's row keeps its next session waiting until it is removed as a whole. An epoch above the sequence is of a version
 * that did not draw it there: it stays until the sequence has come to it. */
const FORGET_ABSENT = `
WITH absent AS MATERIALIZED (
  SELECT namespace, agent_id FROM sessions
  WHERE NOT live AND left_at < now() - $1 * interval '1 millisecond'
    AND epoch <= (SELECT last_value FROM session_epochs)
  ORDER BY left_at LIMIT $2 FOR UPDATE SKIP LOCKED
), unsubscribed AS (
  DELETE FROM subscriptions u USING absent a
  WHERE u.namespace = a.namespace AND u.agent_id = a.agent_id
  RETURNING u.namespace, u.agent_id
), gone AS (
  DELETE FROM sessions s USING absent a
  WHERE s.namespace = a.namespace AND s.agent_id = a.agent_id
  RETURNING s.agent_id
), told AS (
  SELECT pg_notify($3, namespace || '/' || agent_id) FROM unsubscribed GROUP BY namespace, agent_id
)
SELECT (SELECT count(*) FROM gone)::int AS forgotten, (SELECT count(*) FROM told)::int AS told`;

/** Forgets up to `limit` agents that have had no session for `keptMs`: their rows of sessions and their durable subscriptions, of which all
 * replicas hear. Mail that waits for them stays for its own time. Returns how many. */
export async function forgetAbsentAgents(
  pool: Pool,
  { keptMs, limit }: { readonly keptMs: number; readonly limit: number },
): Promise<number> {
  const values = [keptMs, limit, SUBSCRIPTION_CHANNEL];
  const { rows } = await pool.query<{ forgotten: number }>(FORGET_ABSENT, values);
  return rows[0]?.forgotten ?? 0;
}
