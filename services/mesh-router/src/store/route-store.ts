/** Where agents have their sessions, over all replicas. */
import { decodePageToken, encodePageToken, type Pool } from "@nexus/postgres";
import { nameKey } from "../domain/mail/mail-ports.ts";
import type { Locator } from "../domain/remote/remote-ports.ts";
import type { RoutePage, RouteQuery, RouteStore } from "../domain/route.ts";
import { LOCATE_SESSIONS } from "./session-sql.ts";

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

/** Creates what says where sessions are. */
export function createLocator(pool: Pool): Locator {
  return {
    locate: async (names) => {
      const { rows } = await pool.query<LocatedRow>(LOCATE_SESSIONS, [
        names.map(({ namespace }) => namespace),
        names.map(({ agentId }) => agentId),
      ]);
      return new Map(
        rows.map((row) => [
          nameKey(row.namespace, row.agent_id),
          { routerId: row.router_id, epoch: BigInt(row.epoch) },
        ]),
      );
    },
  };
}

interface LocatedRow {
  readonly namespace: string;
  readonly agent_id: string;
  readonly router_id: string;
  readonly epoch: string;
}

/** Creates the store. */
export function createRouteStore(pool: Pool): RouteStore {
  return {
    list: async ({ namespace, pageSize, pageToken }: RouteQuery): Promise<RoutePage> => {
      const [after] = decodePageToken(PAGE_KIND, pageToken, ["text"]) ?? [""];
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
