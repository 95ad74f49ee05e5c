/** Which Postgres server the tests of this run use, and how the workers learn of it. */
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedPostgres } from "@nexus/devkit";

/** A server given by the person who runs the tests: connection string of a superuser. */
export const GIVEN_URL_ENV = "NEXUS_TEST_DATABASE_URL";
/** `embedded` (default) or `testcontainers`. */
export const SOURCE_ENV = "NEXUS_TEST_DB";
/** Set by the global setup for the workers, which inherit the environment: JSON of TestServer. */
export const SERVER_ENV = "NEXUS_TEST_SERVER";

const CONTAINER_IMAGE = "postgres:17";
const CONTAINER_PORT = 5432;
const CONTAINER_START_TIMEOUT_MS = 120_000;
const MAX_CONNECTIONS = "400";

/** A server and this run's mark on it. */
export interface TestServer {
  /** Connection string of a superuser. */
  readonly adminUrl: string;
  /** Part of the name of everything that this run creates on the server. */
  readonly runId: string;
}

/** A server that this run started, or was given. */
export interface OwnedServer extends TestServer {
  /** Stops what was started; a given server stays. */
  stop(): Promise<void>;
}

/** Starts or adopts the server that the environment asks for.
 *
 * The embedded one is removed with its files also when this process is killed. */
export async function openTestServer(env: NodeJS.ProcessEnv): Promise<OwnedServer> {
  const runId = randomBytes(4).toString("hex");
  const given = env[GIVEN_URL_ENV];
  if (given !== undefined && given !== "") {
    return { adminUrl: given, runId, stop: () => Promise.resolve() };
  }
  const source = env[SOURCE_ENV] ?? "embedded";
  if (source === "embedded") return startEmbedded(runId);
  if (source === "testcontainers") return startContainer(runId);
  throw new TypeError(`${SOURCE_ENV} must be embedded or testcontainers, got ${source}`);
}

/** Returns the server that the global setup opened.
 *
 * Errors: an Error that says how to run the test when there was no global setup. */
export function currentTestServer(): TestServer {
  const text = process.env[SERVER_ENV];
  if (text === undefined) {
    throw new Error(
      "no test database: build first and run through vitest, in <package>/test, so that the global setup starts one",
    );
  }
  return JSON.parse(text) as TestServer;
}

async function startEmbedded(runId: string): Promise<OwnedServer> {
  const server = await startEmbeddedPostgres({
    dataDir: join(tmpdir(), `nexus-test-${randomBytes(8).toString("hex")}`),
    durable: false,
    removeWhenDone: true,
    settings: { max_connections: MAX_CONNECTIONS },
  });
  return { adminUrl: server.url, runId, stop: () => server.stop() };
}

/** Imported only here, because it loads a Docker client. */
async function startContainer(runId: string): Promise<OwnedServer> {
  const { GenericContainer, Wait } = await import("testcontainers");
  const password = randomBytes(16).toString("hex");
  const container = await new GenericContainer(CONTAINER_IMAGE)
    .withEnvironment({ POSTGRES_PASSWORD: password })
    .withCommand(["postgres", "-c", "fsync=off", "-c", `max_connections=${MAX_CONNECTIONS}`])
    .withExposedPorts(CONTAINER_PORT)
    // The image starts the server twice: first to initialise it, then for real.
    .withWaitStrategy(Wait.forLogMessage(/database system is ready to accept connections/, 2))
    .withStartupTimeout(CONTAINER_START_TIMEOUT_MS)
    .start();
  const authority = `${container.getHost()}:${container.getMappedPort(CONTAINER_PORT)}`;
  return {
    adminUrl: `postgres://postgres:${password}@${authority}/postgres`,
    runId,
    stop: async () => {
      await container.stop();
    },
  };
}
