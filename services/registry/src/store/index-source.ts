/** Reads agents for the index in memory. */
import type { Pool } from "@nexus/postgres";
import type { AgentKey } from "../domain/agent.ts";
import type { IndexSource } from "../domain/ports.ts";
import {
  type AgentRow,
  keyColumns,
  PRESENCE_JSON,
  type PresenceJson,
  REPUTATIONS_JSON,
  type ReputationJson,
  SELECT_AGENTS,
  toAgentView,
  toPresence,
  toReputation,
} from "./agent-rows.ts";

interface KeyRow {
  readonly namespace: string;
  readonly agent_id: string;
}

/** Creates the source. */
export function createIndexSource(pool: Pool): IndexSource & SeenSource {
  return {
    loadAgents: async (keys) => {
      const { rows } = await pool.query<AgentRow>({
        name: "load-agents",
        text: `${SELECT_AGENTS}
          JOIN unnest($1::text[], $2::text[]) AS k(namespace, agent_id)
            ON a.namespace = k.namespace AND a.agent_id = k.agent_id`,
        values: keyColumns(keys),
      });
      return rows.map(toAgentView);
    },
    loadPresences: async (keys) => {
      const { rows } = await pool.query<KeyRow & { presence: PresenceJson }>({
        name: "load-presences",
        text: `SELECT p.namespace, p.agent_id, ${PRESENCE_JSON} AS presence
          FROM presence p JOIN unnest($1::text[], $2::text[]) AS k(namespace, agent_id)
            ON p.namespace = k.namespace AND p.agent_id = k.agent_id`,
        values: keyColumns(keys),
      });
      return rows.map((row) => ({ ...toKey(row), presence: toPresence(row.presence) }));
    },
    loadReputations: async (keys) => {
      const { rows } = await pool.query<KeyRow & { reputations: ReputationJson[] }>({
        name: "load-reputations",
        text: `SELECT a.namespace, a.agent_id, ${REPUTATIONS_JSON} AS reputations
          FROM unnest($1::text[], $2::text[]) AS a(namespace, agent_id)`,
        values: keyColumns(keys),
      });
      return rows.map((row) => ({ ...toKey(row), reputations: row.reputations.map(toReputation) }));
    },
    loadPage: async (after, limit) => {
      const { rows } = await pool.query<AgentRow>({
        name: "load-page",
        text: `${SELECT_AGENTS} WHERE (a.namespace, a.agent_id) > ($1, $2)
          ORDER BY a.namespace, a.agent_id LIMIT $3`,
        values: [after?.namespace ?? "", after?.agentId ?? "", limit],
      });
      return rows.map(toAgentView);
    },
    seenSince: async (sinceMs) => {
      const { rows } = await pool.query<KeyRow & { seen_at_ms: number }>({
        name: "seen-since",
        text: `SELECT namespace, agent_id, (extract(epoch FROM seen_at) * 1000)::float8 AS seen_at_ms
          FROM presence WHERE seen_at > to_timestamp($1::float8 / 1000)`,
        values: [sinceMs],
      });
      return rows.map((row) => ({ ...toKey(row), seenAtMs: row.seen_at_ms }));
    },
  };
}

/** Reads when agents were last seen. */
export interface SeenSource {
  /** The agents whose presence was reported after a moment of database time. Cost: one scan of the presence table. */
  seenSince(sinceMs: number): Promise<readonly (AgentKey & { readonly seenAtMs: number })[]>;
}

function toKey({ namespace, agent_id }: KeyRow): AgentKey {
  return { namespace, agentId: agent_id };
}
