/** The Redis of a peer. */
import { join } from "node:path";
import { findRedisServer, startLocalRedis } from "@nexus/devkit";
import { Redis } from "ioredis";
import { namedUrl, openLocal, type PeerServer } from "./peer-server.ts";

const URL_VARIABLE = "NEXUS_BENCH_REDIS_URL";
const CONNECT_TIMEOUT_MS = 5_000;

/** What a crash of the server may lose: the last second, or nothing. */
export type AppendFsync = "everysec" | "always";

/** Says why there is no Redis with this durability; undefined when there is one. */
export function whyNoRedis(fsync: AppendFsync): string | undefined {
  if (namedUrl(URL_VARIABLE) !== undefined) {
    return fsync === "everysec" ? undefined : `${URL_VARIABLE} decides how durable its Redis is`;
  }
  if (findRedisServer() !== undefined) return undefined;
  return `no Redis (install redis-server or valkey-server, or set ${URL_VARIABLE})`;
}

/** Opens the Redis that whyNoRedis() has nothing against.
 *
 * Errors: those of startLocalRedis; an Error when the named one does not answer. */
export async function openRedis(dataDir: string, fsync: AppendFsync): Promise<PeerServer> {
  const url = namedUrl(URL_VARIABLE);
  if (url !== undefined) {
    return { url, about: await describeRedis(url), stop: () => Promise.resolve() };
  }
  const folder = join(dataDir, `redis-${fsync}`);
  return openLocal(
    () => startLocalRedis({ dataDir: folder, durability: fsync }),
    (local) => describeRedis(local.url),
  );
}

async function describeRedis(url: string): Promise<string> {
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  // connect() tells the same to the caller.
  client.on("error", () => undefined);
  try {
    await client.connect();
    const version = /^(?:valkey|redis)_version:(\S+)/m.exec(await client.info("server"))?.[1];
    return `Redis ${version ?? "of unknown version"}, ${await describeDurability(client)}`;
  } finally {
    client.disconnect();
  }
}

async function describeDurability(client: Redis): Promise<string> {
  try {
    const pairs = await Promise.all(
      ["appendonly", "appendfsync"].map((name) => client.config("GET", name)),
    );
    return pairs.map((pair) => (pair as readonly string[]).join(" ")).join(", ");
  } catch {
    // A managed Redis tells nobody its configuration.
    return "durability unknown";
  }
}
