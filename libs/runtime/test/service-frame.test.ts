import { ConfigError, type ConfigOf, defineConfig, serviceFields } from "@nexus/core";
import { AuthService } from "@nexus/proto/vault";
import { createRpcChannel, createRpcClient, type RpcChannel } from "@nexus/rpc";
import {
  createServiceFrame,
  type RunningService,
  type ServerOverrides,
  type ServiceFrame,
} from "@nexus/runtime";
import { NexusError } from "@nexus/shared";
import { createTestIdentity, freePort, testConfig, waitFor } from "@nexus/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { addAuth, authHandlers, startVault } from "./_vault.ts";

const schema = defineConfig({
  service: "registry",
  fields: serviceFields("registry", { grpcPort: 7401, opsPort: 9401 }),
});
type Values = Partial<ConfigOf<typeof schema>>;

const open: AsyncDisposable[] = [];
const channels: RpcChannel[] = [];
const identity = createTestIdentity();

async function setUp(values: Values = {}, overrides?: ServerOverrides): Promise<ServiceFrame> {
  const config = testConfig(schema, { shutdownGraceMs: 500, ...values });
  const frame = await createServiceFrame({
    service: "registry",
    config,
    overrides: overrides ?? { verifier: identity.verifier },
  });
  open.push(frame);
  addAuth(frame.server, identity);
  return frame;
}

function clientOf(service: RunningService) {
  const channel = createRpcChannel({ address: service.address });
  channels.push(channel);
  return createRpcClient(AuthService, channel, { timeoutMs: 5_000 });
}

async function ready(service: { opsAddress: string }) {
  const response = await fetch(`http://${service.opsAddress}/ready`);
  const { checks } = (await response.json()) as { checks: Record<string, string> };
  return { status: response.status, checks };
}

afterEach(async () => {
  for (const channel of channels.splice(0)) channel.close();
  for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
});

describe("createServiceFrame", () => {
  it("refuses to start with an audited method and nothing that keeps its entries", async () => {
    const { verifier } = identity;
    const config = testConfig(schema, {});
    const frame = await createServiceFrame({
      service: "registry",
      config,
      overrides: { verifier },
    });
    open.push(frame);
    frame.server.add(AuthService, authHandlers(identity));
    await expect(frame.start()).rejects.toThrow(/is audited/);
  });

  it("serves calls, metrics and probes on free ports after start", async () => {
    const frame = await setUp();
    const service = await frame.start();
    const { jwksJson } = await clientOf(service).getJwks({});
    expect(JSON.parse(jwksJson)).toEqual(identity.jwks);
    expect(await ready(service)).toEqual({
      status: 200,
      checks: { phase: "ok", identity: "ok" },
    });
    const metrics = await fetch(`http://${service.opsAddress}/metrics`);
    expect(await metrics.text()).toContain("nexus_registry_");
  });

  it("is not ready while a check fails, and names it", async () => {
    const frame = await setUp();
    let up = false;
    frame.check("postgres", () => {
      if (!up) throw new Error("connection refused");
    });
    const service = await frame.start();
    const before = await ready(service);
    expect([before.status, before.checks["postgres"]]).toEqual([503, "connection refused"]);
    up = true;
    expect((await ready(service)).status).toBe(200);
  });

  it("is live and not ready before start", async () => {
    const opsPort = await freePort();
    const frame = await setUp({ opsPort });
    const address = `127.0.0.1:${opsPort}`;
    expect((await fetch(`http://${address}/live`)).status).toBe(200);
    const before = await ready({ opsAddress: address });
    expect([before.status, before.checks["phase"]]).toEqual([503, "starting"]);
    await frame.start();
    expect((await ready({ opsAddress: address })).status).toBe(200);
  });

  it("closes in the order readiness, calls, loops, clients, stores, ops", async () => {
    const order: string[] = [];
    const frame = await setUp();
    frame.defer("store", () => order.push("store"));
    frame.defer("client", () => order.push("client"));
    frame.loop({
      name: "loop",
      intervalMs: 5,
      step: (signal) =>
        new Promise((resolve) => {
          signal.addEventListener("abort", () => {
            order.push("loop");
            resolve();
          });
        }),
    });
    const service = await frame.start();
    const call = clientOf(service).getJwks({});
    await call;
    const { opsAddress } = service;
    frame.defer("seen while draining", async () => {
      const state = await ready({ opsAddress });
      order.push(`${state.status} ${state.checks["phase"]}`);
    });
    await service[Symbol.asyncDispose]();
    expect(order).toEqual(["503 draining", "loop", "client", "store"]);
    await expect(fetch(`http://${opsAddress}/live`)).rejects.toThrow("fetch failed");
  });

  it("lets a running stream end within the grace", async () => {
    const frame = await setUp();
    const service = await frame.start();
    const token = await identity.token({ sub: "registry", kind: "service" });
    const stream = clientOf(service).watchRevocations({ resumeRevision: 0n }, { token });
    const failure = (async () => {
      for await (const _ of stream) void service[Symbol.asyncDispose]();
    })().catch((error: unknown) => error);
    expect(NexusError.is(await failure, "unavailable", "SERVER_DRAINING")).toBe(true);
    await service[Symbol.asyncDispose]();
  });

  it("counts the steps of its loops and stops them", async () => {
    const frame = await setUp();
    let steps = 0;
    frame.loop({
      name: "counting",
      intervalMs: 1,
      step: async () => {
        steps++;
        if (steps === 1) throw new Error("first step");
      },
    });
    const service = await frame.start();
    await waitFor(() => steps >= 3, { what: "three steps" });
    const text = await (await fetch(`http://${service.opsAddress}/metrics`)).text();
    expect(text).toContain('nexus_registry_loop_steps_total{loop="counting",outcome="error"} 1');
    expect(text).toMatch(/loop_steps_total\{loop="counting",outcome="ok"\} [1-9]/);
    await service[Symbol.asyncDispose]();
    const after = steps;
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
    expect(steps).toBe(after);
  });

  it("says which port is taken, and leaves nothing open", async () => {
    const first = await (await setUp()).start();
    const [, grpcPort] = first.address.split(":").map(Number);
    const [, opsPort] = first.opsAddress.split(":").map(Number);
    await expect((await setUp({ grpcPort: grpcPort ?? 0 })).start()).rejects.toThrow(
      `NEXUS_REGISTRY_GRPC_PORT is ${grpcPort}, which is in use`,
    );
    await expect(setUp({ opsPort: opsPort ?? 0 })).rejects.toThrow(ConfigError);
  });

  it("refuses to serve plaintext beyond loopback", async () => {
    await expect(setUp({ host: "0.0.0.0" })).rejects.toThrow("NEXUS_REGISTRY_PLAINTEXT_ALLOWED");
    const frame = await setUp({ host: "0.0.0.0", plaintextAllowed: true });
    expect((await frame.start()).address).toMatch(/^0\.0\.0\.0:\d+$/);
  });

  it("opens one channel per address", async () => {
    const frame = await setUp();
    expect(frame.channel("127.0.0.1:1", undefined)).toBe(frame.channel("127.0.0.1:1", undefined));
    expect(frame.channel("127.0.0.1:1", undefined)).not.toBe(
      frame.channel("127.0.0.1:2", undefined),
    );
  });

  it("ends untilUp when the outer signal aborts", async () => {
    const controller = new AbortController();
    const frame = await setUp({}, { verifier: identity.verifier, signal: controller.signal });
    const down = new NexusError({ kind: "unavailable", reason: "UNAVAILABLE", message: "Down." });
    const waiting = frame.untilUp("postgres", () => Promise.reject(down));
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ kind: "cancelled" });
    expect(frame.signal.aborted).toBe(true);
  });
});

describe("a service without vault", () => {
  it("starts, says that it waits, refuses calls as unavailable, and recovers by itself", async () => {
    const vaultPort = await freePort();
    const frame = await setUp({ vaultAddress: `127.0.0.1:${vaultPort}` }, {});
    const service = await frame.start();
    const client = clientOf(service);

    const waiting = await ready(service);
    expect(waiting.status).toBe(503);
    expect(waiting.checks["identity"]).toMatch(/^waiting for the keys/);
    const strange = await identity.token({ sub: "ada" });
    const refused = await client.whoAmI({}, { token: strange }).catch((error: unknown) => error);
    expect(NexusError.is(refused, "unavailable", "IDENTITY_UNAVAILABLE")).toBe(true);

    const vault = await startVault(vaultPort);
    try {
      await waitFor(async () => (await ready(service)).status === 200, {
        what: "the service to be ready",
        timeoutMs: 20_000,
      });
      const principal = await frame.verifier.verify(await vault.identity.token({ sub: "ada" }));
      expect(principal.principalId).toBe("ada");
      await expect(frame.verifier.verify(strange)).rejects.toMatchObject({
        reason: "TOKEN_INVALID",
      });
      expect(await frame.tokens.token()).toMatch(/^ey/);
    } finally {
      await vault.close();
    }
    expect((await ready(service)).status).toBe(200);
  });
});
