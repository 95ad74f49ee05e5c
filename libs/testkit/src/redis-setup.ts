/** vitest's global setup for tests that may need a Redis: where this machine can start none, Debian's package is installed, if it may be.
 *
 * What could not be had is said by the tests that need it, and by nobody else: most do not. */
import { spawnSync } from "node:child_process";
import { findRedisServer } from "@nexus/devkit";
import { dockerAnswers } from "./redis-container.ts";

const COMMANDS = [
  ["apt-get", "update", "-q"],
  ["apt-get", "install", "-q", "-y", "--no-install-recommends", "redis-server"],
] as const;
const ROOT = 0;

/** What there is to know of a machine, and to do about it. */
export interface RedisMachine {
  /** Says whether a Redis can be started. */
  hasRedis(): Promise<boolean>;
  readonly isRoot: boolean;
  readonly env: NodeJS.ProcessEnv;
}

/** Called once before the first test. */
export async function setup(): Promise<void> {
  await ensureRedis({
    hasRedis: async () => findRedisServer() !== undefined || (await dockerAnswers()),
    isRoot: process.getuid?.() === ROOT,
    env: process.env,
  });
}

/** Installs the package where there is no Redis, and says so; does nothing where that may not be. */
export async function ensureRedis({ hasRedis, isRoot, env }: RedisMachine): Promise<void> {
  if (!isRoot || (await hasRedis())) return;
  process.stderr.write("There is no redis-server: installing Debian's.\n");
  for (const [program, ...args] of COMMANDS) {
    const { status, error } = spawnSync(program, args, {
      env: { ...env, DEBIAN_FRONTEND: "noninteractive" },
      stdio: ["ignore", "ignore", "inherit"],
    });
    if (status === 0) continue;
    process.stderr.write(
      `${program} ${args.join(" ")}: ${error?.message ?? `ends with ${status}`}\n`,
    );
    return;
  }
}
