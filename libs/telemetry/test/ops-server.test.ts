import {
  createMetrics,
  type OpsServer,
  READY_TIMEOUT_MS,
  type Readiness,
  startOpsServer,
} from "@nexus/telemetry";
import { afterEach, describe, expect, it } from "vitest";

let server: OpsServer | undefined;

async function setUp(
  readiness: () => Promise<Readiness> = async () => ({ ready: true, checks: {} }),
) {
  const metrics = createMetrics("ops-test");
  metrics.counter({ name: "hits_total", help: "Hits." }).inc();
  server = await startOpsServer({ host: "127.0.0.1", port: 0, metrics, readiness });
  const { address } = server;
  return {
    metrics,
    get: (path: string, init?: RequestInit) => fetch(`http://${address}${path}`, init),
  };
}

describe("startOpsServer", () => {
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  it("takes a free port for 0 and tells it", async () => {
    await setUp();
    expect(server?.port).toBeGreaterThan(0);
    expect(server?.address).toBe(`127.0.0.1:${server?.port}`);
  });

  it("serves metrics in the Prometheus text format", async () => {
    const { get } = await setUp();
    const response = await get("/metrics");
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
    const text = await response.text();
    expect(text).toContain("nexus_ops_test_hits_total 1");
    expect(text).toContain("process_cpu_seconds_total");
  });

  it("is live whatever the checks say", async () => {
    const { get } = await setUp(async () => ({ ready: false, checks: { db: "down" } }));
    const response = await get("/live");
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ live: true });
  });

  it("answers 200 when ready and 503 when not, with the checks", async () => {
    let state: Readiness = { ready: true, checks: { db: "ok" } };
    const { get } = await setUp(async () => state);
    const ready = await get("/ready");
    expect([ready.status, await ready.json()]).toEqual([200, state]);
    state = { ready: false, checks: { db: "down" } };
    const unready = await get("/ready?verbose");
    expect([unready.status, await unready.json()]).toEqual([503, state]);
  });

  it("answers 503 when the checks fail or take too long", async () => {
    let check = () => Promise.reject<Readiness>(new Error("broken check"));
    const { get } = await setUp(() => check());
    const failed = await get("/ready");
    expect([failed.status, await failed.json()]).toEqual([
      503,
      { ready: false, checks: { readiness: "broken check" } },
    ]);
    check = () => new Promise<Readiness>(() => {});
    const startedAtMs = performance.now();
    const hung = await get("/ready");
    expect(hung.status).toBe(503);
    expect(performance.now() - startedAtMs).toBeLessThan(READY_TIMEOUT_MS + 8_000);
  });

  it("answers 404 elsewhere, 405 for other methods, and HEAD without a body", async () => {
    const { get } = await setUp();
    expect((await get("/")).status).toBe(404);
    expect((await get("/metrics/x")).status).toBe(404);
    expect((await get("/live", { method: "POST" })).status).toBe(405);
    const head = await get("/live", { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
  });

  it("answers 500 and goes on when a metric breaks", async () => {
    const { metrics, get } = await setUp();
    const read = () => {
      throw new Error("broken gauge");
    };
    metrics.gauge({ name: "broken", help: "Broken.", read });
    expect((await get("/metrics")).status).toBe(500);
    expect((await get("/live")).status).toBe(200);
  });

  it("rejects when the port is taken", async () => {
    await setUp();
    const port = server?.port ?? 0;
    const options = { host: "127.0.0.1", port, metrics: createMetrics("ops-test") };
    const readiness = async () => ({ ready: true, checks: {} });
    await expect(startOpsServer({ ...options, readiness })).rejects.toThrow("EADDRINUSE");
  });

  it("closes at once, also with a connection kept alive, and twice", async () => {
    const { get } = await setUp();
    await get("/live");
    await Promise.all([server?.close(), server?.close()]);
    await expect(get("/live")).rejects.toThrow("fetch failed");
  });
});
