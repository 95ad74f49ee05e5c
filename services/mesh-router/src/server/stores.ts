/** Opens what the router keeps in Postgres. */
import { keepServiceAudit } from "@nexus/audit";
import { createPool, migrate, type Pool } from "@nexus/postgres";
import { type ServiceFrame, usePool } from "@nexus/runtime";
import type { MeshRouterConfig } from "../config.ts";
import { createRewriteCounter } from "../events.ts";
import { createMailStore, type PostgresMailStore } from "../store/mail-store.ts";
import { type ClosableSessionStore, createSessionStore } from "../store/session-store.ts";
import {
  type ClosableSubscriptionStore,
  createSubscriptionStore,
} from "../store/subscription-store.ts";
import { type Parts, ROUTER_GRACE_LOST_AFTERS } from "./parts.ts";

const SCHEMA = "mesh";

/** Everything that outlives the process. */
export interface MeshStores {
  readonly pool: Pool;
  readonly sessions: ClosableSessionStore;
  readonly mail: PostgresMailStore;
  readonly subscriptions: ClosableSubscriptionStore;
}

/** Opens the pool, migrates from the files of a folder, says that this replica lives, and creates the stores. */
export async function openStores(
  { frame, config, clock, routerId }: Parts,
  migrations: string,
): Promise<MeshStores> {
  const pool = await openPool(frame, config, migrations);
  keepServiceAudit(frame, { pool, vaultAddress: config.vaultAddress });
  const routerGraceMs = config.lostAfterMs * ROUTER_GRACE_LOST_AFTERS;
  const sessions = createSessionStore({ pool, routerId, routerGraceMs });
  frame.defer("session store", () => sessions.close());
  await frame.untilUp("router", () => sessions.renewRouter());
  const onRewritten = createRewriteCounter(frame.metrics);
  const mail = createMailStore({ pool, clock, routerId, onRewritten });
  const subscriptions = createSubscriptionStore(pool);
  frame.defer("subscriptions", () => subscriptions.close());
  return { pool, sessions, mail, subscriptions };
}

async function openPool(
  frame: ServiceFrame,
  config: MeshRouterConfig,
  directory: string,
): Promise<Pool> {
  const pool = createPool({
    url: config.databaseUrl,
    max: config.databasePoolMax,
    applicationName: "nexus-mesh-router",
    schema: SCHEMA,
    statementTimeoutMs: config.statementTimeoutMs,
    logger: frame.logger,
  });
  usePool(frame, pool);
  await frame.untilUp("postgres", () => migrate(pool, { schema: SCHEMA, directory }));
  return pool;
}
