/** Reads whole agents: the columns, and how a row becomes domain objects. */
import type { Queryable } from "@nexus/postgres";
import type {
  Agent,
  AgentKey,
  AgentRecord,
  AgentState,
  Capability,
  Presence,
  Reputation,
} from "../domain/agent.ts";

/** Epoch milliseconds of a timestamptz, with its microseconds as the fraction. */
function epochMs(column: string): string {
  return `(extract(epoch FROM ${column}) * 1000)::float8`;
}

/** One presence row as JSON; null when there is none. */
export const PRESENCE_JSON = `
  json_build_object('epoch', p.epoch::text, 'state', p.state, 'slots', p.slots, 'busySlots', p.busy_slots,
    'seenAtMs', ${epochMs("p.seen_at")})`;

/** All reputations of agent `a` as a JSON array. */
export const REPUTATIONS_JSON = `
  (SELECT coalesce(json_agg(json_build_object('capability', r.capability, 'successWeight', r.success_weight,
      'failureWeight', r.failure_weight, 'succeeded', r.succeeded, 'failed', r.failed,
      'meanLatencyMs', r.mean_latency_ms, 'lastCause', r.last_cause, 'updatedAtMs', ${epochMs("r.updated_at")})
      ORDER BY r.capability), '[]'::json)
   FROM reputations r WHERE r.namespace = a.namespace AND r.agent_id = a.agent_id)`;

const CAPABILITIES_JSON = `
  (SELECT coalesce(json_agg(json_build_object('name', c.name, 'version', c.version, 'description', c.description,
      'inputSchema', c.input_schema, 'outputSchema', c.output_schema, 'tags', c.tags,
      'costMicros', c.cost_micros::text, 'latencyHintUs', c.latency_hint_us) ORDER BY c.position), '[]'::json)
   FROM capabilities c WHERE c.namespace = a.namespace AND c.agent_id = a.agent_id)`;

/** Selects whole agents from `agents a LEFT JOIN presence p`; add a WHERE. */
export const SELECT_AGENTS = `
  SELECT a.namespace, a.agent_id, a.display_name, a.labels, a.region, a.slots, a.ttl_ms, a.revision,
    ${epochMs("a.registered_at")} AS registered_at_ms,
    ${epochMs("a.updated_at")} AS updated_at_ms,
    ${epochMs("a.expires_at")} AS expires_at_ms,
    CASE WHEN p.epoch IS NOT NULL THEN ${PRESENCE_JSON} END AS presence,
    ${CAPABILITIES_JSON} AS capabilities,
    ${REPUTATIONS_JSON} AS reputations
  FROM agents a LEFT JOIN presence p ON p.namespace = a.namespace AND p.agent_id = a.agent_id`;

/** One row of SELECT_AGENTS. */
export interface AgentRow {
  readonly namespace: string;
  readonly agent_id: string;
  readonly display_name: string;
  readonly labels: Record<string, string>;
  readonly region: string;
  readonly slots: number;
  readonly ttl_ms: string;
  readonly revision: string;
  readonly registered_at_ms: number;
  readonly updated_at_ms: number;
  readonly expires_at_ms: number;
  readonly presence: PresenceJson | null;
  readonly capabilities: readonly CapabilityJson[];
  readonly reputations: readonly ReputationJson[];
}

/** Presence as PRESENCE_JSON gives it. */
export interface PresenceJson {
  readonly epoch: string;
  readonly state: AgentState;
  readonly slots: number;
  readonly busySlots: number;
  readonly seenAtMs: number;
}

interface CapabilityJson extends Omit<Capability, "costMicros" | "latencyHintUs"> {
  readonly costMicros: string;
  readonly latencyHintUs: number | null;
}

/** A reputation as REPUTATIONS_JSON gives it. */
export interface ReputationJson extends Omit<Reputation, "meanLatencyMs"> {
  readonly meanLatencyMs: number | null;
}

/** Turns a row into an agent. */
export function toAgentView(row: AgentRow): Agent {
  const record: AgentRecord = {
    namespace: row.namespace,
    agentId: row.agent_id,
    displayName: row.display_name,
    capabilities: row.capabilities.map(toCapability),
    labels: row.labels,
    region: row.region,
    slots: row.slots,
    ttlMs: Number(row.ttl_ms),
    revision: Number(row.revision),
    registeredAtMs: row.registered_at_ms,
    updatedAtMs: row.updated_at_ms,
    expiresAtMs: row.expires_at_ms,
  };
  return {
    record,
    presence: row.presence === null ? undefined : toPresence(row.presence),
    reputations: row.reputations.map(toReputation),
  };
}

/** Turns presence into the domain's. */
export function toPresence(json: PresenceJson): Presence {
  return { ...json, epoch: BigInt(json.epoch) };
}

/** Turns a reputation into the domain's. */
export function toReputation(json: ReputationJson): Reputation {
  return { ...json, meanLatencyMs: json.meanLatencyMs ?? undefined };
}

function toCapability(json: CapabilityJson): Capability {
  return {
    ...json,
    costMicros: BigInt(json.costMicros),
    latencyHintUs: json.latencyHintUs ?? undefined,
  };
}

/** Reads one agent. */
export async function selectAgent(db: Queryable, key: AgentKey): Promise<Agent | undefined> {
  const { rows } = await db.query<AgentRow>({
    name: "select-agent",
    text: `${SELECT_AGENTS} WHERE a.namespace = $1 AND a.agent_id = $2`,
    values: [key.namespace, key.agentId],
  });
  return rows[0] === undefined ? undefined : toAgentView(rows[0]);
}

/** Splits keys into the two arrays that `unnest($1::text[], $2::text[])` takes. */
export function keyColumns(keys: readonly AgentKey[]): [string[], string[]] {
  return [keys.map(({ namespace }) => namespace), keys.map(({ agentId }) => agentId)];
}
