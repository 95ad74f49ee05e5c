/** The Redis between the mesh-routers of a stack, kept running. */
import { join } from "node:path";
import { startLocalRedis } from "../redis/local-redis.ts";
import { KeptServer } from "./kept-server.ts";

const FOLDER = "redis";

/** What to start. */
export interface StackRedisOptions {
  readonly dataDir: string;
  readonly port: number;
  readonly onNotice: (notice: string) => void;
  /** Called when it runs again after it ended by itself. */
  readonly onRestarted: () => void;
}

/** A server under supervision. */
export interface StackRedis {
  readonly pid: number;
  /** Connection string with the password, which is a new one for each start of the stack. */
  readonly url: string;
  readonly kept: KeptServer;
}

/** Starts the server; it keeps nothing, as it is a signal and a cache only (ADR 0020). One that ends by itself is started again.
 *
 * Errors: those of startLocalRedis. */
export async function startStackRedis(options: StackRedisOptions): Promise<StackRedis> {
  const { dataDir, port, onNotice, onRestarted } = options;
  const kept = new KeptServer({ name: "redis", onNotice, onRestarted });
  const server = await startLocalRedis({
    dataDir: join(dataDir, FOLDER),
    port,
    onUnexpectedExit: () => kept.ended(),
  });
  kept.keep(server);
  return {
    get pid() {
      return server.pid;
    },
    url: server.url,
    kept,
  };
}
