/** A real Redis for tests: one that is given, or this machine's own program, or a container. Never none without a word. */
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { findRedisServer, startLocalRedis } from "@nexus/devkit";
import { createTempFolder } from "./temp-folder.ts";

/** A server given by the person who runs the tests: connection string. */
const GIVEN_URL_ENV = "NEXUS_TEST_REDIS_URL";
const CONTAINER_IMAGE = "redis:7";
const CONTAINER_PORT = 6379;
const CONTAINER_START_TIMEOUT_MS = 120_000;
const NAME_BYTES = 6;
const COMMAND_TIMEOUT_MS = 5_000;

/** A server to work with, which others may use too. */
export interface TestRedis {
  readonly url: string;
  /** Differs for each caller: a name for what one test file keeps there. */
  readonly deployment: string;
  /** Stops what was started; a given server stays. */
  close(): Promise<void>;
}

/** A server of the caller's own, which may be broken. */
export interface TestRedisServer extends TestRedis {
  readonly port: number;
  /** Kills it as a crash would: what it holds is lost. */
  kill(): Promise<void>;
  /** Starts it again, empty, at the same address. */
  restart(): Promise<void>;
  /** Deletes everything that it holds. */
  flush(): Promise<void>;
}

/** Opens the Redis that the environment gives, or starts one.
 *
 * Errors: an Error that says how to get one. */
export async function openTestRedis(env: NodeJS.ProcessEnv = process.env): Promise<TestRedis> {
  const given = env[GIVEN_URL_ENV];
  if (given !== undefined && given !== "") {
    return { url: given, deployment: newDeployment(), close: () => Promise.resolve() };
  }
  return findRedisServer() === undefined ? startContainer() : startTestRedis();
}

/** Starts a server with this machine's own program, because it is going to be broken.
 *
 * Errors: an Error that says how to get one. */
export async function startTestRedis(): Promise<TestRedisServer> {
  if (findRedisServer() === undefined) throw noRedis("a Redis that may be killed");
  const folder = await createTempFolder("nexus-test-redis");
  const redis = await startLocalRedis({ dataDir: folder.path });
  return {
    url: redis.url,
    port: redis.port,
    deployment: newDeployment(),
    kill: () => redis.kill(),
    restart: () => redis.restart(),
    flush: () => flushAll(redis.url),
    close: async () => {
      await redis.stop();
      await folder.remove();
    },
  };
}

/** Imported only here, because it loads a Docker client. */
async function startContainer(): Promise<TestRedis> {
  const { GenericContainer, Wait } = await import("testcontainers");
  try {
    const container = await new GenericContainer(CONTAINER_IMAGE)
      .withExposedPorts(CONTAINER_PORT)
      .withWaitStrategy(Wait.forLogMessage(/Ready to accept connections/))
      .withStartupTimeout(CONTAINER_START_TIMEOUT_MS)
      .start();
    return {
      url: `redis://${container.getHost()}:${container.getMappedPort(CONTAINER_PORT)}`,
      deployment: newDeployment(),
      close: async () => {
        await container.stop();
      },
    };
  } catch (error) {
    throw noRedis("a Redis", error);
  }
}

/** Says two inline commands, which needs no client. */
async function flushAll(url: string): Promise<void> {
  const { hostname, port, password } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), timeout: COMMAND_TIMEOUT_MS });
  socket.on("timeout", () => socket.destroy(new Error("Redis does not answer")));
  socket.write(`AUTH ${password}\r\nFLUSHALL\r\nQUIT\r\n`);
  let answer = "";
  for await (const chunk of socket) answer += String(chunk);
  if (!answer.startsWith("+OK\r\n+OK\r\n")) throw new Error(`Redis was not flushed: ${answer}`);
}

function newDeployment(): string {
  return `test-${randomBytes(NAME_BYTES).toString("hex")}`;
}

function noRedis(what: string, cause?: unknown): Error {
  const message = `these tests need ${what}: install redis-server or valkey-server (Debian: apt-get install redis-server), or set ${GIVEN_URL_ENV}, or start Docker`;
  return new Error(message, { cause });
}
