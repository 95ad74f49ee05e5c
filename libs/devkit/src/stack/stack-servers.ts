/** The servers that the services of a stack need: started before them, stopped after them. */
import { type StackDatabase, startStackDatabase } from "./database.ts";
import type { PortPlan } from "./port-plan.ts";
import { type StackRedis, startStackRedis } from "./redis.ts";
import type { StackSecrets } from "./secrets.ts";

/** What to start. */
export interface StackServersOptions {
  readonly dataDir: string;
  readonly ports: PortPlan;
  readonly durable: boolean;
  readonly secrets: StackSecrets;
  readonly onNotice: (notice: string) => void;
  /** Called when one runs again that ended by itself. */
  readonly onRestarted: () => void;
}

/** Servers under supervision. */
export interface StackServers {
  readonly postgres: StackDatabase;
  /** Undefined for a stack that needs none. */
  readonly redis: StackRedis | undefined;
  stop(): Promise<void>;
}

/** Starts what the plan has a port for.
 *
 * Errors: those of startEmbeddedPostgres and startLocalRedis. Nothing keeps running then. */
export async function startStackServers(options: StackServersOptions): Promise<StackServers> {
  const { ports, durable, secrets, ...common } = options;
  const postgres = await startStackDatabase({
    ...common,
    ...{ durable, secrets, port: ports.postgres },
  });
  let redis: StackRedis | undefined;
  try {
    if (ports.redis !== undefined) {
      redis = await startStackRedis({ ...common, port: ports.redis });
    }
  } catch (error) {
    await postgres.kept.stop();
    throw error;
  }
  return {
    postgres,
    redis,
    stop: async () => {
      await redis?.kept.stop();
      await postgres.kept.stop();
    },
  };
}
