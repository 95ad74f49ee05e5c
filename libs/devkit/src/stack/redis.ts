/** The Redis between the mesh-routers of a stack, kept running. */
import { join } from "node:path";
import { startLocalRedis } from "../redis/local-redis.ts";
import { createRecovery } from "./recovery.ts";
import type { KeptServer } from "./stack-processes.ts";

const FOLDER = "redis";

/** What to start. */
export interface StackRedisOptions {
  readonly dataDir: string;
  readonly port: number;
  readonly onNotice: (notice: string) => void;
}

/** A server under supervision. */
export interface StackRedis extends KeptServer {
  readonly pid: number;
  /** Connection string with the password, which is a new one for each start of the stack. */
  readonly url: string;
  stop(): Promise<void>;
}

/** Starts the server; it keeps nothing, as it is a signal and a cache only (ADR 0020). One that ends by itself is started again.
 *
 * Errors: those of startLocalRedis. */
export async function startStackRedis(options: StackRedisOptions): Promise<StackRedis> {
  const { dataDir, port, onNotice } = options;
  const recovery = createRecovery({ name: "redis", restart: () => server.restart(), onNotice });
  const server = await startLocalRedis({
    dataDir: join(dataDir, FOLDER),
    port,
    onUnexpectedExit: () => recovery.ended(),
  });
  return {
    get pid() {
      return server.pid;
    },
    url: server.url,
    stop: () => {
      recovery.stop();
      return server.stop();
    },
    restart: async (how) => {
      if (how === "kill") await server.kill();
      await server.restart();
    },
    takeDown: () => server.kill(),
    resume: () => server.restart(),
  };
}
