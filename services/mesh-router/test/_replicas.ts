/** Several routers on one database and one Redis, and ways to keep one of them from Redis. */
import { openTestRedis, TcpProxy, type TestRedis, waitFor } from "@nexus/testkit";
import { type RunningRegistry, type Skills, startRegistry } from "./_registry.ts";
import { MeshFixture, type RunningRouter } from "./_router.ts";

/** Short, so that a lost replica is noticed within a test. */
const LOST_AFTER_MS = 800;
const REDIS_PORT = 6_379;

/** Routers that know each other. */
export class ReplicaFixture {
  readonly mesh: MeshFixture;
  readonly #redis: TestRedis;
  readonly routers: RunningRouter[] = [];
  /** Each router's way to Redis. */
  readonly proxies: TcpProxy[] = [];
  readonly #registry: RunningRegistry;

  private constructor(mesh: MeshFixture, redis: TestRedis, registry: RunningRegistry) {
    this.mesh = mesh;
    this.#redis = redis;
    this.#registry = registry;
  }

  /** Starts so many. A test that breaks its Redis brings one of its own; it is closed with the rest. */
  static async create(count: number, skills: Skills, own?: TestRedis): Promise<ReplicaFixture> {
    const mesh = await MeshFixture.create();
    const registry = await startRegistry(mesh, skills);
    const fixture = new ReplicaFixture(mesh, own ?? (await openTestRedis()), registry);
    for (let i = 0; i < count; i += 1) await fixture.#start(`replica-${i}`);
    await fixture.untilMet();
    return fixture;
  }

  async #start(routerId: string): Promise<void> {
    const proxy = await TcpProxy.listen();
    this.proxies.push(proxy);
    const url = new URL(this.#redis.url);
    proxy.aim(Number(url.port || REDIS_PORT), url.hostname);
    url.hostname = "127.0.0.1";
    url.port = String(proxy.port);
    const router = await this.mesh.start({
      routerId,
      registryAddress: this.#registry.address,
      busDriver: "redis",
      redisUrl: url.toString(),
      busDeployment: this.#redis.deployment,
      busLostAfterMs: LOST_AFTER_MS,
      // What comes, comes by a notice.
      stateAskIntervalMs: 3_600_000,
    });
    this.routers.push(router);
  }

  /** Waits until every router hears every other one. */
  async untilMet(): Promise<void> {
    const peers = this.routers.length - 1;
    for (const router of this.routers) await untilMetric(router, "bus_peers", peers);
  }

  async close(): Promise<void> {
    await this.mesh.close();
    for (const proxy of this.proxies) await proxy.close();
    await this.#redis.close();
    await this.#registry.stop();
  }
}

/** Reads a figure that has no labels. */
export async function metric({ service }: RunningRouter, name: string): Promise<number> {
  const answer = await fetch(`http://${service.opsAddress}/metrics`);
  const pattern = new RegExp(`^nexus_mesh_router_${name} (.+)$`, "m");
  return Number(pattern.exec(await answer.text())?.[1] ?? Number.NaN);
}

/** Waits until a figure has a value. */
export async function untilMetric(
  router: RunningRouter,
  name: string,
  value: number,
): Promise<void> {
  await waitFor(async () => (await metric(router, name)) === value, {
    what: `${name} of ${value}`,
    timeoutMs: 20_000,
  });
}
