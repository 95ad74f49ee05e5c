/** Where agents have their sessions, over all replicas. */
import { decodePageToken, encodePageToken, type Pool } from "@nexus/postgres";
import type { RoutePage, RouteQuery, RouteStore } from "../domain/route.ts";

const PAGE_KIND = "routes";

const LIST = `
SELECT agent_id, router_id, epoch, expires_at IS NULL AS attached
  FROM sessions
 WHERE namespace = $1 AND live AND agent_id > $2
 ORDER BY agent_id
 LIMIT $3`;

interface Row {
  readonly agent_id: string;
  readonly router_id: string;
  readonly epoch: string;
  readonly attached: boolean;
}

/** Creates the store. */
export function createRouteStore(pool: Pool): RouteStore {
  return {
    list: async ({ namespace, pageSize, pageToken }: RouteQuery): Promise<RoutePage> => {
      const [after] = decodePageToken(PAGE_KIND, pageToken) ?? [""];
      const { rows } = await pool.query<Row>(LIST, [namespace, after, pageSize + 1]);
      const routes = rows.slice(0, pageSize).map((row) => ({
        agentId: row.agent_id,
        routerId: row.router_id,
        epoch: BigInt(row.epoch),
        attached: row.attached,
      }));
      const last = routes.at(-1);
      const more = rows.length > pageSize && last !== undefined;
      return { routes, nextPageToken: more ? encodePageToken(PAGE_KIND, [last.agentId]) : "" };
    },
  };
}
