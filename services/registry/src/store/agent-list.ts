/** Pages of agents. */
import { decodePageToken, encodePageToken, type Pool } from "@nexus/postgres";
import { ANSWER_BYTES_MAX } from "../domain/agent-size.ts";
import type { AgentListQuery, AgentPage } from "../domain/ports.ts";
import { type AgentRow, SELECT_AGENTS, toAgentView } from "./agent-rows.ts";

const TOKEN_KIND = "agents";

interface SizedId {
  readonly agent_id: string;
  readonly size_bytes: number;
}

/** Reads one page: first which agents, then as many of them whole as fit in one answer. */
export async function listAgents(pool: Pool, query: AgentListQuery): Promise<AgentPage> {
  const after = decodePageToken(TOKEN_KIND, query.pageToken, ["text"])?.[0] ?? "";
  const { rows: found } = await pool.query<SizedId>(
    `SELECT a.agent_id, a.size_bytes
     FROM agents a LEFT JOIN presence p ON p.namespace = a.namespace AND p.agent_id = a.agent_id
     WHERE a.namespace = $1 AND a.agent_id > $2
       AND (cardinality($3::text[]) = 0 OR coalesce(p.state, 'OFFLINE') = ANY ($3))
       AND a.labels @> $4::jsonb
       AND ($5 = '' OR EXISTS (
         SELECT 1 FROM capabilities c
         WHERE c.namespace = a.namespace AND c.agent_id = a.agent_id AND c.name = $5))
     ORDER BY a.agent_id LIMIT $6`,
    [
      query.namespace,
      after,
      query.states,
      JSON.stringify(query.labels),
      query.capability,
      query.pageSize + 1,
    ],
  );
  const page = fitting(found.slice(0, query.pageSize));
  const last = page.at(-1);
  if (last === undefined) return { agents: [], nextPageToken: "" };
  const { rows } = await pool.query<AgentRow>(
    `${SELECT_AGENTS} WHERE a.namespace = $1 AND a.agent_id = ANY ($2) ORDER BY a.agent_id`,
    [query.namespace, page.map(({ agent_id }) => agent_id)],
  );
  const more = page.length < found.length;
  return {
    agents: rows.map(toAgentView),
    nextPageToken: more ? encodePageToken(TOKEN_KIND, [last.agent_id]) : "",
  };
}

function fitting(ids: readonly SizedId[]): SizedId[] {
  let bytes = 0;
  return ids.filter(({ size_bytes }, position) => {
    bytes += size_bytes;
    return position === 0 || bytes <= ANSWER_BYTES_MAX;
  });
}
