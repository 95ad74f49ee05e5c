import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FLUSH_BATCHES_MAX, QUEUED_BATCHES_MAX } from "../src/domain/metrics-collector.ts";
import { type Bench, createBench, expectError, type Replica, sampleOf } from "./_helpers.ts";

let bench: Bench;
let replica: Replica;
beforeAll(async () => {
  bench = await createBench();
  replica = await bench.start();
});
afterAll(() => bench.close());

const record = (...samples: ReturnType<typeof sampleOf>[]) =>
  replica.user.metrics.recordSamples({ samples });

const attemptsOf = async (jobId: string, clients = replica.user) => {
  const { total } = await clients.analytics.getJobPerformance({ jobId });
  return Number(total?.attempts);
};

describe("RecordSamples", () => {
  it("stores a batch, which counts at once", async () => {
    const samples = [1, 2, 3].map(() => sampleOf({ jobId: "first" }));
    expect((await record(...samples)).stored).toBe(3);
    expect(await attemptsOf("first")).toBe(3);
  });

  it("counts a batch that is sent again once", async () => {
    const batch = [1, 2, 3].map(() => sampleOf({ jobId: "again" }));
    expect((await record(...batch)).stored).toBe(3);
    expect((await record(...batch)).stored).toBe(0);
    expect((await record(...batch, sampleOf({ jobId: "again" }))).stored).toBe(1);
    expect((await record(batch[0]!, batch[0]!)).stored).toBe(0);
    expect(await attemptsOf("again")).toBe(4);
  });

  it("counts an id once, also with another time on another day", async () => {
    const today = sampleOf({ jobId: "moved" });
    const before = sampleOf({ jobId: "moved", ageMs: 23.9 * 3_600_000 });
    expect((await record(today)).stored).toBe(1);
    const { stored } = await record({ ...before, sampleId: today.sampleId! });
    expect(stored).toBe(0);
    expect(await attemptsOf("moved")).toBe(1);
  });

  it("counts once what many callers send at the same time, also to two replicas", async () => {
    const other = await bench.start();
    const batch = Array.from({ length: 40 }, () => sampleOf({ jobId: "rush" }));
    const senders = Array.from({ length: 12 }, (_, n) => (n % 2 === 0 ? replica : other));
    const answers = await Promise.all(
      senders.map(({ user }) => user.metrics.recordSamples({ samples: batch })),
    );
    expect(answers.reduce((sum, { stored }) => sum + stored, 0)).toBe(40);
    expect(await attemptsOf("rush")).toBe(40);
    expect(await attemptsOf("rush", other.user)).toBe(40);
  });

  it("keeps the same id of two namespaces apart", async () => {
    const sample = sampleOf({ jobId: "shared" });
    const elsewhere = replica.as({ sub: "ada", ns: "elsewhere" });
    await record(sample);
    const { stored } = await elsewhere.metrics.recordSamples({ samples: [sample] });
    expect(stored).toBe(1);
    expect(await attemptsOf("shared", elsewhere)).toBe(1);
  });

  it("takes 512 samples at once and no more", async () => {
    const batch = Array.from({ length: 513 }, () => sampleOf({ jobId: "many" }));
    expect((await record(...batch.slice(0, 512))).stored).toBe(512);
    await expectError(record(...batch), "invalid", "REQUEST_INVALID");
  });

  it.each([
    ["more than a day old", { ageMs: 86_400_000 + 60_000 }],
    ["more than five minutes ahead", { ageMs: -360_000 }],
  ])(
    "refuses a batch with a sample that is %s, and stores nothing of it",
    async (name, attempt) => {
      const good = sampleOf({ jobId: name });
      await expectError(record(good, sampleOf(attempt)), "invalid", "SAMPLE_TIME_INVALID");
      await expectError(attemptsOf(name), "not_found", "NO_SAMPLES");
    },
  );

  it("does not let one caller's text fail the samples of others", async () => {
    const bad = sampleOf({ reason: "NUL\0" });
    const [refused, stored] = await Promise.allSettled([
      record(bad),
      record(sampleOf({ jobId: "innocent" })),
    ]);
    expect(refused).toMatchObject({ status: "rejected", reason: { reason: "TEXT_NOT_STORABLE" } });
    expect(stored).toMatchObject({ status: "fulfilled", value: { stored: 1 } });
  });

  it("lets services write into any namespace and nobody else", async () => {
    const sample = sampleOf({ jobId: "foreign" }, { namespace: "tenant" });
    await expectError(record(sample), "forbidden", "NAMESPACE_FORBIDDEN");
    const { stored } = await replica.service.metrics.recordSamples({ samples: [sample] });
    expect(stored).toBe(1);
    expect(await attemptsOf("foreign", replica.as({ sub: "ada", ns: "tenant" }))).toBe(1);
    const own = sampleOf({ jobId: "named" }, { namespace: "default" });
    expect((await record(own)).stored).toBe(1);
  });

  it("needs the scope", async () => {
    const reader = replica.as({ sub: "ada", scopes: ["insight:performance:read"] });
    await expectError(
      reader.metrics.recordSamples({ samples: [sampleOf()] }),
      "forbidden",
      "SCOPE_MISSING",
    );
  });

  it("takes samples again after the loss of every connection to Postgres", async () => {
    await bench.cutConnections();
    await waitFor(
      async () => {
        await record(sampleOf({ jobId: "after-the-loss" }));
        return true;
      },
      { what: "a sample after the loss" },
    );
    expect(await attemptsOf("after-the-loss")).toBeGreaterThan(0);
  });

  it("says when intake is behind, and goes on afterwards", async () => {
    const blocker = await bench.pool.connect();
    await blocker.query("BEGIN");
    await blocker.query("LOCK TABLE sample_keys");
    const calls = Array.from({ length: FLUSH_BATCHES_MAX + QUEUED_BATCHES_MAX + 20 }, () =>
      record(sampleOf({ jobId: "crowd" })).then(
        ({ stored }) => stored,
        (error: unknown) => error as { reason: string; details: { retryAfterMs?: number } },
      ),
    );
    const refused = await Promise.race(calls);
    expect(refused).toMatchObject({ reason: "QUEUE_FULL" });
    expect(refused).toHaveProperty("details.retryAfterMs", expect.any(Number));
    await blocker.query("COMMIT");
    blocker.release();
    const answers = await Promise.all(calls);
    const stored = answers.filter((answer) => answer === 1).length;
    expect(stored).toBeGreaterThanOrEqual(QUEUED_BATCHES_MAX);
    expect(await attemptsOf("crowd")).toBe(stored);
    const metrics = await (await fetch(`http://${replica.opsAddress}/metrics`)).text();
    expect(metrics).toMatch(/nexus_insight_batches_refused_total\{reason="queue_full"\} \d+/);
  });
});
