import { describe, expect, it } from "vitest";
import { renderConfigDocs } from "./config-docs.ts";
import { durationMs, int } from "./number-fields.ts";
import { defineConfig } from "./schema.ts";
import { oneOf, secret, string } from "./text-fields.ts";

const schema = defineConfig({
  service: "test-app",
  fields: {
    waitMs: durationMs({
      env: "NEXUS_TEST_APP_WAIT_MS",
      about: "How long | how short.",
      default: 5_000,
      min: 1,
      max: 60_000,
    }),
    count: int({ env: "NEXUS_TEST_APP_COUNT", about: "Count." }),
    level: oneOf({
      env: "NEXUS_TEST_APP_LEVEL",
      about: "Level.",
      values: ["a", "b"],
      default: "a",
      dynamic: true,
    }),
    key: secret({
      env: "NEXUS_TEST_APP_KEY",
      about: "Key.",
      optional: true,
      min: 32,
      together: "k",
    }),
    id: string({ env: "NEXUS_TEST_APP_ID", about: "Id.", optional: true, together: "k" }),
  },
});

describe("renderConfigDocs", () => {
  it("has one row per setting with type, default, liveness and text", () => {
    const rows = renderConfigDocs([schema])
      .split("\n")
      .filter((line) => line.startsWith("| `"));
    expect(rows).toEqual([
      "| `NEXUS_TEST_APP_WAIT_MS` | duration: 1..60000 ms | `5000` |  | How long \\| how short. |",
      "| `NEXUS_TEST_APP_COUNT` | integer | **required** |  | Count. |",
      "| `NEXUS_TEST_APP_LEVEL` | choice: a, b | `a` | yes | Level. |",
      "| `NEXUS_TEST_APP_KEY` | secret: at least 32 characters | not set |  | Key. |",
      "| `NEXUS_TEST_APP_ID` | text | not set |  | Id. |",
    ]);
  });

  it("names the file variable and the groups, and ends with one line break", () => {
    const text = renderConfigDocs([schema]);
    expect(text).toContain("## test-app\n\nFile: `NEXUS_TEST_APP_CONFIG_FILE`.");
    expect(text).toContain("`NEXUS_TEST_APP_KEY`, `NEXUS_TEST_APP_ID`: all or none.");
    expect(text).toMatch(/[^\n]\n$/);
  });
});
