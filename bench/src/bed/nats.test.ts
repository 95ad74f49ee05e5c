import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { natsOptions } from "../peers/nats-options.ts";
import { openNats, whyNoNats } from "./nats.ts";

const folder = mkdtempSync(join(tmpdir(), "nexus-bench-nats-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => vi.unstubAllEnvs());

describe("whyNoNats", () => {
  it("says how to get one where the PATH has none", () => {
    vi.stubEnv("NEXUS_BENCH_NATS_URL", "");
    vi.stubEnv("PATH", folder);
    for (const sync of ["default", "always"] as const) {
      expect(whyNoNats(sync)).toMatch(/^no NATS server .*nats-server.*NEXUS_BENCH_NATS_URL/);
    }
  });

  it("has nothing against a program on the PATH", () => {
    const programs = mkdtempSync(join(folder, "programs-"));
    writeFileSync(join(programs, "nats-server"), "", { mode: 0o755 });
    vi.stubEnv("NEXUS_BENCH_NATS_URL", "");
    vi.stubEnv("PATH", programs);
    expect(whyNoNats("default")).toBeUndefined();
    expect(whyNoNats("always")).toBeUndefined();
  });

  it("leaves the settings of a named one alone", () => {
    vi.stubEnv("NEXUS_BENCH_NATS_URL", "nats://127.0.0.1:1");
    expect(whyNoNats("default")).toBeUndefined();
    expect(whyNoNats("always")).toContain("NEXUS_BENCH_NATS_URL");
  });
});

describe("openNats", () => {
  it("fails when the named one does not answer: that is no missing server", async () => {
    vi.stubEnv("NEXUS_BENCH_NATS_URL", "nats://127.0.0.1:1");
    await expect(openNats(folder, "default")).rejects.toThrow();
  });

  it("gives the last words of a program that ends at once", async () => {
    const programs = mkdtempSync(join(folder, "broken-"));
    const program = join(programs, "nats-server");
    writeFileSync(program, "#!/bin/sh\necho no such setting >&2\nexit 1\n", { mode: 0o755 });
    vi.stubEnv("NEXUS_BENCH_NATS_URL", "");
    vi.stubEnv("PATH", `${programs}:/bin:/usr/bin`);
    await expect(openNats(join(folder, "run"), "always")).rejects.toThrow(/no such setting/);
  });
});

describe("natsOptions", () => {
  it("takes user and password out of the connection string", () => {
    expect(natsOptions("nats://bench:a%20b@127.0.0.1:4222")).toEqual({
      servers: "127.0.0.1:4222",
      user: "bench",
      pass: "a b",
    });
    expect(natsOptions("nats://127.0.0.1:4222")).toEqual({ servers: "127.0.0.1:4222" });
  });
});
