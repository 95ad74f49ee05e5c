/** Presence rows: renewed by the thousand, changed now and then. */
import { type Pool, type Queryable, withTransaction } from "@nexus/postgres";
import type { AgentKey } from "../domain/agent.ts";
import { compareText } from "../domain/capability-definition.ts";
import type {
  ChangedAgents,
  PresenceOutcome,
  PresenceReport,
  PresenceStore,
} from "../domain/ports.ts";
import { appendChanges } from "./change-feed.ts";

const INPUT = `
  input AS (
    SELECT * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::int[], $7::int[])
      WITH ORDINALITY AS t(namespace, agent_id, epoch, state, slots, busy_slots, position))`;

/** A renewal changes seen_at and nothing else, and needs no look at `agents`: the row is gone when the agent is. */
const RENEW = `
  WITH ${INPUT}, renewed AS (
    UPDATE presence p SET seen_at = now(), router_id = $1
    FROM input i
    WHERE p.namespace = i.namespace AND p.agent_id = i.agent_id AND p.epoch = i.epoch
      AND p.state = i.state AND p.slots = i.slots AND p.busy_slots = i.busy_slots
    RETURNING i.position)
  SELECT i.position::int,
    NOT EXISTS (SELECT 1 FROM agents a WHERE a.namespace = i.namespace AND a.agent_id = i.agent_id) AS unknown,
    EXISTS (SELECT 1 FROM presence p
            WHERE p.namespace = i.namespace AND p.agent_id = i.agent_id AND p.epoch > i.epoch) AS stale
  FROM input i WHERE i.position NOT IN (SELECT position FROM renewed)`;

/** Locking the agent's row keeps it from being removed before the commit, as the foreign key would, but without an error
 * for the whole batch when it is gone. */
const CHANGE = `
  WITH ${INPUT}, known AS MATERIALIZED (
    SELECT i.* FROM input i JOIN agents a ON a.namespace = i.namespace AND a.agent_id = i.agent_id
    ORDER BY i.position FOR KEY SHARE OF a)
  INSERT INTO presence AS p (namespace, agent_id, epoch, state, slots, busy_slots, router_id, seen_at)
  SELECT namespace, agent_id, epoch, state, slots, busy_slots, $1, now() FROM known
  ON CONFLICT ON CONSTRAINT presence_key DO UPDATE SET epoch = excluded.epoch, state = excluded.state,
    slots = excluded.slots, busy_slots = excluded.busy_slots, router_id = excluded.router_id, seen_at = excluded.seen_at
  WHERE p.epoch <= excluded.epoch
  RETURNING p.namespace, p.agent_id`;

interface NotRenewed {
  readonly position: number;
  readonly unknown: boolean;
  readonly stale: boolean;
}

interface KeyRow {
  readonly namespace: string;
  readonly agent_id: string;
}

/** Creates the store. */
export function createPresenceStore(pool: Pool): PresenceStore {
  return {
    report: async (routerId, reports) => {
      // One order for everybody, so that two batches about the same agents do not deadlock.
      const sorted = [...reports].sort(byKey);
      const rest = await renew(pool, routerId, sorted);
      const changing = rest.filter(({ unknown, stale }) => !unknown && !stale);
      const changed = await change(
        pool,
        routerId,
        changing.flatMap(({ position }) => sorted[position - 1] ?? []),
      );
      return {
        unknown: rest.filter(({ unknown }) => unknown).length,
        stale: rest.filter(({ stale, unknown }) => stale && !unknown).length,
        changed: changed.keys.length,
        change: changed.change,
      } satisfies PresenceOutcome;
    },
    expire: (lostAfterMs, limit) => expire(pool, lostAfterMs, limit),
  };
}

async function renew(
  pool: Pool,
  routerId: string,
  reports: readonly PresenceReport[],
): Promise<readonly NotRenewed[]> {
  return withTransaction(pool, async (tx) => {
    const { rows } = await tx.query<NotRenewed>({
      name: "renew-presence",
      text: RENEW,
      values: columns(routerId, reports),
    });
    return rows;
  });
}

async function change(
  pool: Pool,
  routerId: string,
  reports: readonly PresenceReport[],
): Promise<ChangedAgents> {
  if (reports.length === 0) return { keys: [], change: undefined };
  return withTransaction(pool, async (tx) => {
    const { rows } = await tx.query<KeyRow>({
      name: "change-presence",
      text: CHANGE,
      values: columns(routerId, reports),
    });
    return append(tx, rows);
  });
}

/** Rows that another sweep or a report holds are left to them. */
async function expire(pool: Pool, lostAfterMs: number, limit: number): Promise<ChangedAgents> {
  return withTransaction(pool, async (tx) => {
    const { rows } = await tx.query<KeyRow>(
      `UPDATE presence p SET state = 'LOST' FROM (
         SELECT namespace, agent_id FROM presence
         WHERE state IN ('ONLINE', 'BUSY', 'DRAINING')
           AND seen_at < now() - make_interval(secs => $1::float8 / 1000)
         ORDER BY namespace, agent_id LIMIT $2 FOR UPDATE SKIP LOCKED
       ) late
       WHERE p.namespace = late.namespace AND p.agent_id = late.agent_id
       RETURNING p.namespace, p.agent_id`,
      [lostAfterMs, limit],
    );
    return append(tx, rows);
  });
}

async function append(tx: Queryable, rows: readonly KeyRow[]): Promise<ChangedAgents> {
  const keys: AgentKey[] = rows.map(({ namespace, agent_id }) => ({
    namespace,
    agentId: agent_id,
  }));
  return { keys, change: await appendChanges(tx, keys, "presence") };
}

function columns(routerId: string, reports: readonly PresenceReport[]): unknown[] {
  return [
    routerId,
    reports.map(({ namespace }) => namespace),
    reports.map(({ agentId }) => agentId),
    reports.map(({ epoch }) => epoch.toString()),
    reports.map(({ state }) => state),
    reports.map(({ slots }) => slots),
    reports.map(({ busySlots }) => busySlots),
  ];
}

function byKey(a: PresenceReport, b: PresenceReport): number {
  return compareText(a.namespace, b.namespace) || compareText(a.agentId, b.agentId);
}
