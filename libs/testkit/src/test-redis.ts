/** A real Redis for tests: the one that the environment gives, else this machine's own program, else a container. Where there is
 * none, Debian's package is installed before the tests begin (redis-setup.ts), if that may be. Never none without a word. */
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { findRedisServer, startLocalRedis } from "@nexus/devkit";
import { dockerAnswers, startRedisContainer } from "./redis-container.ts";
import { createTempFolder } from "./temp-folder.ts";

/** A server given by the person who runs the tests: connection string. */
const GIVEN_URL_ENV = "NEXUS_TEST_REDIS_URL";
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
  if (given === undefined || given === "") return startTestRedis();
  return { url: given, deployment: newDeployment(), close: () => Promise.resolve() };
}

/** Starts a server that nobody else uses, for tests that kill, stop or empty it; a given one is spared.
 *
 * Errors: an Error that says how to get one. */
export async function startTestRedis(): Promise<TestRedisServer> {
  if (findRedisServer() !== undefined) return startProgram();
  if (!(await dockerAnswers())) throw new Error(HOW_TO_GET_ONE);
  const container = await startRedisContainer();
  return {
    ...container,
    deployment: newDeployment(),
    flush: () => flushAll(container.url),
    close: () => container.stop(),
  };
}

const HOW_TO_GET_ONE = `There is no Redis for these tests. Install redis-server or valkey-server (Debian, as root: apt-get install redis-server; \
the tests do that by themselves where they run as root), or start Docker. ${GIVEN_URL_ENV} names a server for tests that do not break it; \
those that kill or empty their Redis start one of their own and need one of the former.`;

async function startProgram(): Promise<TestRedisServer> {
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
