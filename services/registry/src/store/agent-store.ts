/** Records of agents: the one place that writes `agents` and `capabilities`. */
import { type Pool, type Queryable, withTransaction } from "@nexus/postgres";
import type { Agent, AgentContent, AgentKey, AgentRecord } from "../domain/agent.ts";
import { contentHashOf } from "../domain/agent-content.ts";
import { agentNotFound } from "../domain/agent-registry.ts";
import { approximateBytesOf } from "../domain/agent-size.ts";
import type { AgentStore, ChangedAgents, StoredAgent } from "../domain/ports.ts";
import { listAgents } from "./agent-list.ts";
import { selectAgent } from "./agent-rows.ts";
import { appendChanges } from "./change-feed.ts";
import { runRequest } from "./request-store.ts";

/** Creates the store. */
export function createAgentStore(pool: Pool): AgentStore {
  return {
    get: (key) => selectAgent(pool, key),
    list: (query) => listAgents(pool, query),
    register: (key, content, request) =>
      runRequest(pool, request, {
        fresh: (tx) => register(tx, key, content),
        repeated: (tx) => repeated(tx, key),
      }),
    update: (key, change, request) =>
      runRequest(pool, request, {
        fresh: (tx) => update(tx, key, change),
        repeated: (tx) => repeated(tx, key),
      }),
    remove: (key, request) =>
      runRequest<number | undefined>(pool, request, {
        fresh: (tx) => remove(tx, key),
        repeated: async () => undefined,
      }),
    removeExpired: (limit) => removeExpired(pool, limit),
  };
}

async function update(
  tx: Queryable,
  key: AgentKey,
  change: (current: AgentRecord) => AgentContent,
): Promise<StoredAgent> {
  await tx.query("SELECT 1 FROM agents WHERE namespace = $1 AND agent_id = $2 FOR UPDATE", [
    key.namespace,
    key.agentId,
  ]);
  const current = await selectAgent(tx, key);
  if (current === undefined) throw agentNotFound(key);
  const changed = await replaceContent(tx, key, change(current.record));
  return stored(tx, key, changed ? "changed" : "unchanged");
}

async function remove(tx: Queryable, key: AgentKey): Promise<number | undefined> {
  const { rowCount } = await tx.query("DELETE FROM agents WHERE namespace = $1 AND agent_id = $2", [
    key.namespace,
    key.agentId,
  ]);
  return rowCount === 0 ? undefined : appendChanges(tx, [key], "record");
}

async function register(tx: Queryable, key: AgentKey, content: AgentContent): Promise<StoredAgent> {
  const created = await insertAgent(tx, key, content);
  if (created !== undefined) {
    await insertCapabilities(tx, key, content);
    return { agent: created, outcome: "created", change: await appendChanges(tx, [key], "record") };
  }
  const changed = await replaceContent(tx, key, content);
  await tx.query(
    `UPDATE agents SET expires_at = now() + make_interval(secs => ttl_ms::float8 / 1000)
     WHERE namespace = $1 AND agent_id = $2`,
    [key.namespace, key.agentId],
  );
  return stored(tx, key, changed ? "changed" : "unchanged");
}

interface InsertedRow {
  readonly revision: string;
  readonly now_ms: number;
}

/** Creates the agent's row; undefined when there is one. */
async function insertAgent(
  tx: Queryable,
  key: AgentKey,
  content: AgentContent,
): Promise<Agent | undefined> {
  const { rows } = await tx.query<InsertedRow>({
    name: "insert-agent",
    text: `INSERT INTO agents (namespace, agent_id, display_name, labels, region, slots, ttl_ms, content_hash, size_bytes,
       revision, registered_at, updated_at, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7::bigint, $8, $9,
       nextval('record_revisions'), now(), now(), now() + make_interval(secs => $7::bigint / 1000.0))
     ON CONFLICT ON CONSTRAINT agents_key DO NOTHING
     RETURNING revision, (extract(epoch FROM now()) * 1000)::float8 AS now_ms`,
    values: contentColumns(key, content),
  });
  const row = rows[0];
  if (row === undefined) return undefined;
  const record = {
    namespace: key.namespace,
    agentId: key.agentId,
    ...content,
    revision: Number(row.revision),
    registeredAtMs: row.now_ms,
    updatedAtMs: row.now_ms,
    expiresAtMs: row.now_ms + content.ttlMs,
  };
  return { record, presence: undefined, reputations: [] };
}

/** Replaces the content when it differs; says whether it did. Two at once wait for each other on the agent's row. */
async function replaceContent(
  tx: Queryable,
  key: AgentKey,
  content: AgentContent,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: "replace-agent",
    text: `UPDATE agents SET display_name = $3, labels = $4, region = $5, slots = $6, ttl_ms = $7, content_hash = $8,
       size_bytes = $9, revision = nextval('record_revisions'), updated_at = now()
     WHERE namespace = $1 AND agent_id = $2 AND content_hash <> $8`,
    values: contentColumns(key, content),
  });
  if (rowCount === 0) return false;
  await tx.query("DELETE FROM capabilities WHERE namespace = $1 AND agent_id = $2", [
    key.namespace,
    key.agentId,
  ]);
  await insertCapabilities(tx, key, content);
  return true;
}

function contentColumns(key: AgentKey, content: AgentContent): unknown[] {
  return [
    key.namespace,
    key.agentId,
    content.displayName,
    JSON.stringify(content.labels),
    content.region,
    content.slots,
    content.ttlMs,
    contentHashOf(content),
    approximateBytesOf(content),
  ];
}

async function insertCapabilities(
  tx: Queryable,
  key: AgentKey,
  content: AgentContent,
): Promise<void> {
  const rows = content.capabilities.map((capability, position) => ({
    ...capability,
    position,
    costMicros: capability.costMicros.toString(),
    latencyHintUs: capability.latencyHintUs ?? null,
  }));
  await tx.query({
    name: "insert-capabilities",
    text: `INSERT INTO capabilities (namespace, agent_id, name, version, position, description, input_schema, output_schema,
       tags, cost_micros, latency_hint_us)
     SELECT $1, $2, name, version, position, description, "inputSchema", "outputSchema",
       ARRAY(SELECT jsonb_array_elements_text(tags)), "costMicros", "latencyHintUs"
     FROM jsonb_to_recordset($3::jsonb) AS t(name text, version text, position int, description text,
       "inputSchema" text, "outputSchema" text, tags jsonb, "costMicros" bigint, "latencyHintUs" bigint)`,
    values: [key.namespace, key.agentId, JSON.stringify(rows)],
  });
}

/** Ends a mutation: the agent as it is now, and the line in the feed. A registration that repeats the content has still
 * moved the time of expiry, so it has a line too. */
async function stored(
  tx: Queryable,
  key: AgentKey,
  outcome: StoredAgent["outcome"],
): Promise<StoredAgent> {
  const agent = await selectAgent(tx, key);
  if (agent === undefined) throw agentNotFound(key);
  return { agent, outcome, change: await appendChanges(tx, [key], "record") };
}

async function repeated(tx: Queryable, key: AgentKey): Promise<StoredAgent> {
  const agent: Agent | undefined = await selectAgent(tx, key);
  if (agent === undefined) throw agentNotFound(key);
  return { agent, outcome: "repeated", change: undefined };
}

/** Live agents outlive their registration, so their expiry is moved on first: they would fill every batch otherwise. That
 * happens once a ttl and is no change that anybody has to hear of. */
async function removeExpired(pool: Pool, limit: number): Promise<ChangedAgents> {
  // An agent that somebody else has locked has its turn later: waiting here, in any order, could end in a circle.
  await pool.query(
    `UPDATE agents a SET expires_at = live.expires_at
     FROM (SELECT e.namespace, e.agent_id, p.seen_at + make_interval(secs => e.ttl_ms::float8 / 1000) AS expires_at
           FROM agents e JOIN presence p ON p.namespace = e.namespace AND p.agent_id = e.agent_id
           WHERE e.expires_at < now() AND p.seen_at + make_interval(secs => e.ttl_ms::float8 / 1000) > now()
           FOR NO KEY UPDATE OF e SKIP LOCKED) live
     WHERE a.namespace = live.namespace AND a.agent_id = live.agent_id`,
  );
  return withTransaction(pool, async (tx) => {
    const { rows } = await tx.query<{ namespace: string; agent_id: string }>(
      `DELETE FROM agents a USING (
         SELECT namespace, agent_id FROM agents e
         WHERE expires_at < now() AND NOT EXISTS (
           SELECT 1 FROM presence p
           WHERE p.namespace = e.namespace AND p.agent_id = e.agent_id
             AND (p.state IN ('ONLINE', 'BUSY', 'DRAINING')
               OR p.seen_at + make_interval(secs => e.ttl_ms::float8 / 1000) >= now()))
         ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
       ) expired
       WHERE a.namespace = expired.namespace AND a.agent_id = expired.agent_id
       RETURNING a.namespace, a.agent_id`,
      [limit],
    );
    const keys = rows.map(({ namespace, agent_id }) => ({ namespace, agentId: agent_id }));
    return { keys, change: await appendChanges(tx, keys, "record") };
  });
}
