/** A Redis in Docker, for machines without a program of their own. */
import { randomBytes } from "node:crypto";
import { freePort } from "@nexus/devkit";

const IMAGE = "redis:7";
const PORT = 6379;
const START_TIMEOUT_MS = 120_000;
const PASSWORD_BYTES = 24;

/** A container that runs, or was killed. */
export interface RedisContainer {
  readonly url: string;
  readonly port: number;
  kill(): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Says whether there is a Docker, or what else testcontainers knows, that answers. */
export async function dockerAnswers(): Promise<boolean> {
  const { getContainerRuntimeClient } = await loadDocker();
  return getContainerRuntimeClient().then(
    () => true,
    () => false,
  );
}

/** Starts one, behind a password, at a port that it keeps. */
export async function startRedisContainer(): Promise<RedisContainer> {
  const { GenericContainer, getContainerRuntimeClient, Wait } = await loadDocker();
  const password = randomBytes(PASSWORD_BYTES).toString("base64url");
  const port = await freePort();
  const container = await new GenericContainer(IMAGE)
    .withCommand(["redis-server", "--requirepass", password, "--save", "", "--appendonly", "no"])
    .withExposedPorts({ container: PORT, host: port })
    .withWaitStrategy(Wait.forLogMessage(/Ready to accept connections/))
    .withStartupTimeout(START_TIMEOUT_MS)
    .start();
  return {
    url: `redis://:${password}@${container.getHost()}:${port}`,
    port,
    kill: async () => {
      const docker = await getContainerRuntimeClient();
      await docker.container.getById(container.getId()).kill({ signal: "SIGKILL" });
    },
    restart: () => container.restart(),
    stop: async () => {
      await container.stop();
    },
  };
}

/** Imported only when it is needed: a Docker client is large. */
function loadDocker() {
  return import("testcontainers");
}
