import { createServer, type Socket } from "node:net";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { type GetStatusResponse, ServiceHealth, StatusService } from "@nexus/proto/gateway";
import { NEXUS_VERSION } from "@nexus/shared";
import { afterEach, describe, expect, it } from "vitest";
import { failureOf, Rigs } from "./_helpers.ts";

const nothing = () => undefined;
const rigs = new Rigs();

afterEach(() => rigs.close());

/** Accepts connections and never says a word. */
async function startSilence(): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => void sockets.add(socket.on("error", nothing)));
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  rigs.keep({
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  return `127.0.0.1:${(server.address() as { port: number }).port}`;
}

function healthOf({ services }: GetStatusResponse) {
  return services.map(({ name, health }) => [name, ServiceHealth[health]]);
}

describe("GetStatus", () => {
  it("tells who serves, who does not, who cannot be reached and who is too slow, in one answer", async () => {
    const rig = await rigs.start({
      upstreams: { registry: nothing, orchestrator: nothing },
      config: { insightAddress: await startSilence(), meshRouterAddress: await startSilence() },
    });
    rig.upstreams.get("orchestrator")?.server.setServing(false);
    const startedAt = performance.now();
    const status = await rig.client(StatusService).getStatus({}, { token: await rig.token() });
    const elapsedMs = performance.now() - startedAt;
    expect(status.version).toBe(NEXUS_VERSION);
    expect(healthOf(status)).toEqual([
      ["gateway", "SERVING"],
      ["insight", "UNREACHABLE"],
      ["mesh-router", "UNREACHABLE"],
      ["orchestrator", "NOT_SERVING"],
      ["registry", "SERVING"],
      ["vault", "UNREACHABLE"],
    ]);
    // All are asked at once, so that two that are silent cost no more than one.
    expect(elapsedMs).toBeGreaterThan(1_900);
    expect(elapsedMs).toBeLessThan(4_000);
    const byName = new Map(status.services.map((service) => [service.name, service]));
    const registry = byName.get("registry");
    expect(registry?.message).toBe("");
    expect(registry?.latency === undefined ? -1 : durationMs(registry.latency)).toBeGreaterThan(-1);
    expect(byName.get("orchestrator")?.message).not.toBe("");
    expect(byName.get("vault")?.latency).toBeUndefined();
    for (const { message } of status.services) expect(message).not.toMatch(/\d+\.\d+|ECONN/);
  });

  it("asks every replica, so that one that is gone is seen beside one that serves", async () => {
    const rig = await rigs.start({
      upstreams: { registry: nothing, vault: nothing },
      through: async (upstream, address) =>
        upstream === "registry" ? `ipv4:${address},127.0.0.1:9` : address,
    });
    const { services } = await rig
      .client(StatusService)
      .getStatus({}, { token: await rig.token() });
    const of = (wanted: string) => services.find(({ name }) => name === wanted);
    expect(of("registry")).toMatchObject({
      health: ServiceHealth.SERVING,
      replicas: 2,
      replicasServing: 1,
      message: expect.stringMatching(/^1 of 2 replicas does not serve: [^\d]+$/),
    });
    expect(of("vault")).toMatchObject({ replicas: 1, replicasServing: 1, message: "" });
    expect(of("insight")).toMatchObject({ replicas: 1, replicasServing: 0 });
    expect(of("gateway")).toMatchObject({ replicas: 0, replicasServing: 0 });
  });

  it("answers in the time that its caller gives", async () => {
    const silence = await startSilence();
    const rig = await rigs.start({ config: { registryAddress: silence } });
    const status = await rig
      .client(StatusService)
      .getStatus({}, { token: await rig.token(), timeoutMs: 1_700 });
    expect(healthOf(status)).toContainEqual(["registry", "UNREACHABLE"]);
  });

  it("says why a service does not serve where it knows, and notices one that comes back", async () => {
    const rig = await rigs.start({ upstreams: { vault: nothing } });
    const health = async () => {
      const status = await rig.client(StatusService).getStatus({}, { token: await rig.token() });
      return healthOf(status).find(([name]) => name === "vault")?.[1];
    };
    const message = async () => {
      const status = await rig.client(StatusService).getStatus({}, { token: await rig.token() });
      return status.services.find(({ name }) => name === "vault")?.message;
    };
    rig.upstreams.get("vault")?.server.setServing(false);
    expect(await health()).toBe("NOT_SERVING");
    expect(await message()).toContain("misses something");
    rig.upstreams.get("vault")?.server.setServing(false, "sealed");
    expect(await message()).toContain("nexus vault unseal");
    rig.upstreams.get("vault")?.server.setServing(true);
    expect(await health()).toBe("SERVING");
  });

  it("is for those who may read it", async () => {
    const rig = await rigs.start();
    const token = await rig.token(["orchestrator:*:*"]);
    const error = await failureOf(rig.client(StatusService).getStatus({}, { token }));
    expect(error).toMatchObject({ kind: "forbidden", reason: "SCOPE_MISSING" });
  });
});
