import { testConfig } from "@nexus/testkit";
import { describe, expect, it } from "vitest";
import { schema } from "./config.ts";
import { OUTCOMES_PER_GROUP_MAX } from "./domain/outcome.ts";

const databaseUrl = "postgres://role:password@127.0.0.1:5432/nexus";

describe("the settings of the orchestrator", () => {
  it("let no transaction end more attempts than one group of outcomes may hold", () => {
    const { current } = testConfig(schema, {
      databaseUrl,
      flushItemsMax: OUTCOMES_PER_GROUP_MAX / 2,
    });
    expect(2 * current.flushItemsMax).toBe(OUTCOMES_PER_GROUP_MAX);
    const tooMany = { databaseUrl, flushItemsMax: OUTCOMES_PER_GROUP_MAX / 2 + 1 };
    expect(() => testConfig(schema, tooMany)).toThrow(/NEXUS_ORCHESTRATOR_FLUSH_ITEMS_MAX/);
  });
});
