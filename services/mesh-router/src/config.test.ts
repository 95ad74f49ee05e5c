import { testConfig } from "@nexus/testkit";
import { describe, expect, it } from "vitest";
import { meshRouterConfig } from "./config.ts";

const databaseUrl = "postgres://mesh:mesh@127.0.0.1:5432/nexus";

describe("the configuration", () => {
  it("has the times of the design", () => {
    expect(testConfig(meshRouterConfig, { databaseUrl }).current).toMatchObject({
      heartbeatIntervalMs: 5_000,
      lostAfterMs: 15_000,
      presenceRefreshMs: 5_000,
      sessionsMax: 20_000,
    });
  });

  it("refuses a session that one late heartbeat would lose", () => {
    const values = { databaseUrl, heartbeatIntervalMs: 1_000, lostAfterMs: 1_999 };
    expect(() => testConfig(meshRouterConfig, values)).toThrow("twice the heartbeat");
  });
});
