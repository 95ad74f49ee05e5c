import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { openRedis, whyNoRedis } from "./redis.ts";

const folder = mkdtempSync(join(tmpdir(), "nexus-bench-redis-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => vi.unstubAllEnvs());

describe("whyNoRedis", () => {
  it("says how to get one where the PATH has none", () => {
    vi.stubEnv("NEXUS_BENCH_REDIS_URL", "");
    vi.stubEnv("PATH", folder);
    for (const fsync of ["everysec", "always"] as const) {
      expect(whyNoRedis(fsync)).toMatch(/^no Redis .*redis-server.*NEXUS_BENCH_REDIS_URL/);
    }
  });

  it("has nothing against a program on the PATH", () => {
    const programs = mkdtempSync(join(folder, "programs-"));
    writeFileSync(join(programs, "valkey-server"), "", { mode: 0o755 });
    vi.stubEnv("NEXUS_BENCH_REDIS_URL", "");
    vi.stubEnv("PATH", programs);
    expect(whyNoRedis("everysec")).toBeUndefined();
    expect(whyNoRedis("always")).toBeUndefined();
  });

  it("leaves the settings of a named one alone", () => {
    vi.stubEnv("NEXUS_BENCH_REDIS_URL", "redis://127.0.0.1:1");
    expect(whyNoRedis("everysec")).toBeUndefined();
    expect(whyNoRedis("always")).toContain("NEXUS_BENCH_REDIS_URL");
  });
});

describe("openRedis", () => {
  it("fails when the named one does not answer: that is no missing Redis", async () => {
    vi.stubEnv("NEXUS_BENCH_REDIS_URL", "redis://127.0.0.1:1");
    await expect(openRedis(folder, "everysec")).rejects.toThrow();
  });
});
