import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ConfigError,
  ConfigManager,
  defineConfig,
  int,
  oneOf,
  type ReloadOutcome,
  secret,
} from "@nexus/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const WATCH_DEADLINE_MS = 10_000;

const schema = defineConfig({
  service: "test-app",
  fields: {
    level: oneOf({
      env: "NEXUS_TEST_APP_LEVEL",
      about: "Level.",
      values: ["info", "debug"],
      default: "info",
      dynamic: true,
    }),
    limit: int({ env: "NEXUS_TEST_APP_LIMIT", about: "Limit.", default: 1, dynamic: true }),
    size: int({ env: "NEXUS_TEST_APP_SIZE", about: "Size.", default: 1 }),
    key: secret({ env: "NEXUS_TEST_APP_KEY", about: "Key.", optional: true, dynamic: true }),
  },
});

let folder = "";
let path = "";

function write(content: Record<string, unknown> | string): void {
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
}

/** Replaces the file by a rename, as editors and Kubernetes do. */
function replace(content: Record<string, unknown> | string): void {
  const next = `${path}.next`;
  writeFileSync(next, typeof content === "string" ? content : JSON.stringify(content));
  renameSync(next, path);
}

function load() {
  return ConfigManager.load(schema, { env: { NEXUS_TEST_APP_CONFIG_FILE: path } });
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "nexus-reload-"));
  path = join(folder, "config.json");
  write({});
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

describe("ConfigManager.reload", () => {
  it("puts dynamic changes in force and reports the others as ignored", () => {
    const config = load();
    write({ NEXUS_TEST_APP_LEVEL: "debug", NEXUS_TEST_APP_SIZE: 5 });
    expect(config.reload()).toEqual([
      { key: "level", env: "NEXUS_TEST_APP_LEVEL", from: "info", to: "debug", applied: true },
      { key: "size", env: "NEXUS_TEST_APP_SIZE", from: "1", to: "5", applied: false },
    ]);
    expect(config.current).toMatchObject({ level: "debug", size: 1 });
    const level = config.effective().find(({ env }) => env === "NEXUS_TEST_APP_LEVEL");
    expect(level).toEqual({ env: "NEXUS_TEST_APP_LEVEL", value: "debug", source: "file" });
  });

  it("tells the subscribers of changed keys only, with the new and the old value", () => {
    const config = load();
    const calls: unknown[] = [];
    config.subscribe("level", (value, previous) => calls.push(["level", value, previous]));
    const stop = config.subscribe("limit", (value) => calls.push(["limit", value]));
    write({ NEXUS_TEST_APP_LEVEL: "debug" });
    config.reload();
    expect(calls).toEqual([["level", "debug", "info"]]);
    stop();
    write({ NEXUS_TEST_APP_LEVEL: "debug", NEXUS_TEST_APP_LIMIT: 9 });
    config.reload();
    expect(calls).toHaveLength(1);
    expect(config.current.limit).toBe(9);
  });

  it("returns nothing when nothing changed", () => {
    const config = load();
    const before = config.current;
    expect(config.reload()).toEqual([]);
    expect(config.current).toEqual(before);
  });

  it("keeps the old configuration when the new one is wrong anywhere", () => {
    const config = load();
    write({ NEXUS_TEST_APP_LEVEL: "debug", NEXUS_TEST_APP_SIZE: "many" });
    expect(() => config.reload()).toThrow(ConfigError);
    expect(config.current.level).toBe("info");
    write("{");
    expect(() => config.reload()).toThrow("is not valid JSON");
  });

  it("leaves the environment above the file", () => {
    const env = { NEXUS_TEST_APP_CONFIG_FILE: path, NEXUS_TEST_APP_LIMIT: "3" };
    const config = ConfigManager.load(schema, { env });
    write({ NEXUS_TEST_APP_LIMIT: 9 });
    expect(config.reload()).toEqual([]);
    expect(config.current.limit).toBe(3);
  });

  it("shows no secret in a change", () => {
    const config = load();
    write({ NEXUS_TEST_APP_KEY: "hunter2" });
    expect(config.reload()).toEqual([
      { key: "key", env: "NEXUS_TEST_APP_KEY", from: "", to: "[set]", applied: true },
    ]);
    expect(config.current.key).toBe("hunter2");
  });

  it("tells all subscribers before it passes on the error of one", () => {
    const config = load();
    const told: string[] = [];
    config.subscribe("level", () => {
      throw new Error("broken subscriber");
    });
    config.subscribe("level", (value) => told.push(value));
    write({ NEXUS_TEST_APP_LEVEL: "debug" });
    expect(() => config.reload()).toThrow(AggregateError);
    expect(told).toEqual(["debug"]);
    expect(config.current.level).toBe("debug");
  });

  it("refuses a subscription that would never be called", () => {
    expect(() => load().subscribe("size", () => {})).toThrow("not a dynamic setting");
  });
});

describe("ConfigManager.watch", () => {
  /** Watches, and hands out the outcomes one by one. */
  function watched(config: ReturnType<typeof load>) {
    const outcomes: ReloadOutcome[] = [];
    config.watch((outcome) => outcomes.push(outcome));
    return async (change: () => void): Promise<ReloadOutcome> => {
      outcomes.length = 0;
      change();
      const endAtMs = performance.now() + WATCH_DEADLINE_MS;
      while (outcomes.length === 0 && performance.now() < endAtMs) {
        await new Promise((resolve) => {
          setTimeout(resolve, 10);
        });
      }
      const outcome = outcomes.at(-1);
      if (outcome === undefined) throw new Error("No reload was seen.");
      return outcome;
    };
  }

  it("reloads when the file is written or replaced, and hears of a refused one", async () => {
    const config = load();
    const after = watched(config);
    await after(() => write({ NEXUS_TEST_APP_LIMIT: 2 }));
    expect(config.current.limit).toBe(2);
    await after(() => replace({ NEXUS_TEST_APP_LIMIT: 3 }));
    expect(config.current.limit).toBe(3);
    const refused = await after(() => replace("{"));
    expect("error" in refused && refused.error).toBeInstanceOf(ConfigError);
    expect(config.current.limit).toBe(3);
    await after(() => replace({ NEXUS_TEST_APP_LIMIT: 4 }));
    expect(config.current.limit).toBe(4);
    config.close();
  });

  it("does nothing without a file", () => {
    const config = ConfigManager.load(schema, { env: {} });
    config.watch();
    config.close();
  });
});
