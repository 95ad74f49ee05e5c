import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ConfigError } from "./config-error.ts";
import { ConfigManager } from "./config-manager.ts";
import { durationMs, int, port } from "./number-fields.ts";
import { defineConfig } from "./schema.ts";
import { serviceFields } from "./service-fields.ts";
import { list, oneOf, secret, string } from "./text-fields.ts";

const schema = defineConfig({
  service: "test-app",
  fields: {
    port: port({ env: "NEXUS_TEST_APP_PORT", about: "Port.", example: "7401" }),
    ttlMs: durationMs({ env: "NEXUS_TEST_APP_TTL_MS", about: "TTL.", default: 1_000, min: 10 }),
    graceMs: durationMs({ env: "NEXUS_TEST_APP_GRACE_MS", about: "Grace.", default: 100 }),
    mode: oneOf({ env: "NEXUS_TEST_APP_MODE", about: "Mode.", values: ["a", "b"], default: "a" }),
    tags: list({ env: "NEXUS_TEST_APP_TAGS", about: "Tags.", default: [] }),
    label: string({ env: "NEXUS_TEST_APP_LABEL", about: "Label.", optional: true }),
    password: secret({ env: "NEXUS_TEST_APP_PASSWORD", about: "Password.", min: 8 }),
    cert: string({ env: "NEXUS_TEST_APP_CERT", about: "Cert.", optional: true, together: "tls" }),
    key: string({ env: "NEXUS_TEST_APP_KEY", about: "Key.", optional: true, together: "tls" }),
  },
  check: (config) =>
    config.graceMs > config.ttlMs
      ? [{ field: "graceMs", problem: "must not be longer than the TTL" }]
      : [],
});

const REQUIRED = { NEXUS_TEST_APP_PORT: "1", NEXUS_TEST_APP_PASSWORD: "hunter2hunter2" };

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nexus-config-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function file(content: unknown): string {
  const path = join(folder, `${Math.random()}.json`);
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

function load(env: Record<string, string>, filePath?: string) {
  return ConfigManager.load(schema, { env, ...(filePath === undefined ? {} : { filePath }) });
}

function problemsOf(env: Record<string, string>, filePath?: string): string[] {
  try {
    load(env, filePath);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map((p) => `${p.env} ${p.problem}`);
    throw error;
  }
  return [];
}

describe("ConfigManager.load", () => {
  it("reads the environment, and takes defaults for the rest", () => {
    const config = load({ ...REQUIRED, NEXUS_TEST_APP_TTL_MS: "2s", NEXUS_TEST_APP_TAGS: "x,y" });
    expect(config.current).toEqual({
      port: 1,
      ttlMs: 2_000,
      graceMs: 100,
      mode: "a",
      tags: ["x", "y"],
      label: undefined,
      password: "hunter2hunter2",
      cert: undefined,
      key: undefined,
    });
    expect(config.get("ttlMs")).toBe(2_000);
  });

  it("names every problem at once, with an example, and no secret", () => {
    const env = {
      NEXUS_TEST_APP_TTL_MS: "soon",
      NEXUS_TEST_APP_MODE: "c",
      NEXUS_TEST_APP_PASSWORD: "hunter2",
      NEXUS_TEST_APP_CERT: "cert.pem",
    };
    let error: unknown;
    try {
      load(env);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject({ kind: "invalid", reason: "CONFIG_INVALID" });
    const { message, problems } = error as ConfigError;
    expect(problems.map((p) => p.env)).toEqual([
      "NEXUS_TEST_APP_PORT",
      "NEXUS_TEST_APP_TTL_MS",
      "NEXUS_TEST_APP_MODE",
      "NEXUS_TEST_APP_PASSWORD",
      "NEXUS_TEST_APP_KEY",
    ]);
    expect(message).toContain("test-app has 5 problems");
    expect(message).toContain("NEXUS_TEST_APP_PORT is not set (example: 7401)");
    expect(message).toContain("NEXUS_TEST_APP_PASSWORD is set, but too short");
    expect(message).toContain(
      "NEXUS_TEST_APP_KEY is not set, but is required together with NEXUS_TEST_APP_CERT",
    );
    expect(message).not.toContain("hunter2");
  });

  it("accepts both or none of a pair", () => {
    expect(problemsOf(REQUIRED)).toEqual([]);
    const both = { ...REQUIRED, NEXUS_TEST_APP_CERT: "c", NEXUS_TEST_APP_KEY: "k" };
    expect(problemsOf(both)).toEqual([]);
  });

  it("checks rules between fields once each field is sound", () => {
    const env = { ...REQUIRED, NEXUS_TEST_APP_GRACE_MS: "2s" };
    expect(problemsOf(env)).toEqual(["NEXUS_TEST_APP_GRACE_MS must not be longer than the TTL"]);
  });

  it("treats an empty variable as not set", () => {
    expect(load({ ...REQUIRED, NEXUS_TEST_APP_TTL_MS: "" }).current.ttlMs).toBe(1_000);
    expect(problemsOf({ ...REQUIRED, NEXUS_TEST_APP_PORT: "" })).toEqual([
      "NEXUS_TEST_APP_PORT is not set",
    ]);
  });

  it("cannot be changed in place", () => {
    const { current } = load(REQUIRED);
    expect(() => Object.assign(current, { port: 2 })).toThrow(TypeError);
  });

  it("warns of variables that look like typing mistakes, but not of Kubernetes' own", () => {
    const config = load({
      ...REQUIRED,
      NEXUS_TEST_APP_TLL_MS: "5",
      NEXUS_TEST_APP_SERVICE_HOST: "10.0.0.1",
      NEXUS_TEST_APP_PORT_7401_TCP_ADDR: "10.0.0.1",
      NEXUS_OTHER_THING: "1",
      PATH: "/bin",
    });
    expect(config.unknown).toEqual(["NEXUS_TEST_APP_TLL_MS"]);
  });
});

describe("a configuration file", () => {
  it("is read below the environment and above the defaults", () => {
    const path = file({
      NEXUS_TEST_APP_PORT: 7,
      NEXUS_TEST_APP_TTL_MS: "3s",
      NEXUS_TEST_APP_TAGS: ["a", "b"],
    });
    const config = load({ ...REQUIRED, NEXUS_TEST_APP_CONFIG_FILE: path });
    expect(config.current).toMatchObject({ port: 1, ttlMs: 3_000, tags: ["a", "b"], mode: "a" });
    const sources = config.effective().map(({ env, source }) => `${env.slice(15)} ${source}`);
    expect(sources.slice(0, 6)).toEqual([
      "PORT env",
      "TTL_MS file",
      "GRACE_MS default",
      "MODE default",
      "TAGS file",
      "LABEL unset",
    ]);
  });

  it("is refused with a reason when it cannot be used", () => {
    const missing = problemsOf(REQUIRED, join(folder, "missing.json"));
    expect(missing).toEqual([
      "NEXUS_TEST_APP_CONFIG_FILE names a file that cannot be read (ENOENT)",
    ]);
    expect(problemsOf(REQUIRED, file("{ hunter2"))[0]).toMatch(/is not valid JSON$/);
    expect(problemsOf(REQUIRED, file([1]))[0]).toMatch(/must hold one JSON object$/);
    const nested = file({ NEXUS_TEST_APP_MODE: { deep: "hunter2" } });
    expect(problemsOf(REQUIRED, nested)[0]).toMatch(
      /value for NEXUS_TEST_APP_MODE that is no text/,
    );
  });

  it("is refused when it holds an unknown setting, and the nearest one is named", () => {
    const path = file({ NEXUS_TEST_APP_MODES: "a" });
    let error: unknown;
    try {
      load(REQUIRED, path);
    } catch (thrown) {
      error = thrown;
    }
    expect((error as ConfigError).problems).toEqual([
      {
        env: "NEXUS_TEST_APP_MODES",
        problem: "in the file is no known setting",
        example: "NEXUS_TEST_APP_MODE",
      },
    ]);
  });

  it("may hold other services' settings", () => {
    expect(problemsOf(REQUIRED, file({ NEXUS_REGISTRY_LOG_LEVEL: "debug" }))).toEqual([]);
  });
});

describe("a secret's file", () => {
  it("is read without its last line break", () => {
    const { NEXUS_TEST_APP_PASSWORD: _, ...rest } = REQUIRED;
    const path = file("hunter3hunter3\n");
    const config = load({ ...rest, NEXUS_TEST_APP_PASSWORD_FILE: path });
    expect(config.current.password).toBe("hunter3hunter3");
  });

  it("is refused beside the variable, or when it cannot be read", () => {
    const both = { ...REQUIRED, NEXUS_TEST_APP_PASSWORD_FILE: file("x") };
    expect(problemsOf(both)).toEqual([
      "NEXUS_TEST_APP_PASSWORD_FILE is set beside NEXUS_TEST_APP_PASSWORD; keep one",
    ]);
    const missing = { NEXUS_TEST_APP_PORT: "1", NEXUS_TEST_APP_PASSWORD_FILE: "/nowhere" };
    expect(problemsOf(missing)).toEqual([
      "NEXUS_TEST_APP_PASSWORD_FILE names a file that cannot be read (ENOENT)",
    ]);
  });
});

describe("a secret that is never read from a file", () => {
  const strict = defineConfig({
    service: "test-app",
    fields: {
      key: secret({ env: "NEXUS_TEST_APP_KEY", optional: true, fromFile: false, about: "A key." }),
      keyFile: string({ env: "NEXUS_TEST_APP_KEY_FILE", optional: true, about: "Its file." }),
    },
  });

  it("leaves the variable with _FILE to a setting of that name", () => {
    const config = ConfigManager.load(strict, { env: { NEXUS_TEST_APP_KEY_FILE: file("secret") } });
    expect(config.current.key).toBeUndefined();
    expect(config.current.keyFile).not.toBe("secret");
    expect(config.unknown).toEqual([]);
    config.close();
  });
});

describe("the effective configuration", () => {
  it("shows values as they are written, and of a secret only that it is set", () => {
    const config = load({ ...REQUIRED, NEXUS_TEST_APP_TAGS: "x,y" });
    const shown = Object.fromEntries(config.effective().map(({ env, value }) => [env, value]));
    expect(shown).toMatchObject({
      NEXUS_TEST_APP_PORT: "1",
      NEXUS_TEST_APP_TTL_MS: "1000",
      NEXUS_TEST_APP_TAGS: "x,y",
      NEXUS_TEST_APP_LABEL: "",
      NEXUS_TEST_APP_PASSWORD: "[set]",
    });
    expect(JSON.stringify(shown)).not.toContain("hunter2");
  });
});

describe("defineConfig", () => {
  it("refuses two fields with one variable", () => {
    const field = int({ env: "NEXUS_TEST_APP_X", about: "" });
    expect(() => defineConfig({ service: "x", fields: { a: field, b: field } })).toThrow("twice");
  });
});

describe("serviceFields", () => {
  const ports = { grpcPort: 7401, opsPort: 9401 };

  it("names fields after the service and starts with few variables", () => {
    const registry = defineConfig({
      service: "registry",
      fields: serviceFields("registry", ports),
    });
    const { current } = ConfigManager.load(registry, {
      env: {
        NEXUS_REGISTRY_DATABASE_URL: "postgres://registry:x@127.0.0.1:7432/nexus",
        NEXUS_REGISTRY_CLIENT_SECRET: "s".repeat(43),
      },
    });
    expect(current).toMatchObject({
      host: "127.0.0.1",
      grpcPort: 7401,
      opsPort: 9401,
      logLevel: "info",
      vaultAddress: "127.0.0.1:7404",
      principalId: "registry",
      otlpEndpoint: undefined,
      plaintextAllowed: false,
    });
  });

  it("lets one connection carry many calls, but for strangers at the gateway", () => {
    expect(serviceFields("gateway", ports).maxConcurrentStreams.defaultValue).toBe(1_000);
    expect(serviceFields("mesh-router", ports).maxConcurrentStreams.defaultValue).toBe(100_000);
  });

  it("gives vault no way to vault and the gateway no database", () => {
    const vault = Object.keys(serviceFields("vault", ports));
    const gateway = Object.keys(serviceFields("gateway", ports));
    expect(vault.filter((key) => /vault|clientSecret|principalId/.test(key))).toEqual([]);
    expect(gateway.filter((key) => key.startsWith("database"))).toEqual([]);
    expect(serviceFields("mesh-router", ports).host.env).toBe("NEXUS_MESH_ROUTER_HOST");
  });

  it("accepts host and port, IPv6 and DNS names as vault's address", () => {
    const { vaultAddress } = serviceFields("registry", ports);
    for (const good of ["127.0.0.1:7404", "vault:7404", "dns:///vault.ns.svc:7404", "[::1]:7404"]) {
      expect(vaultAddress.parse(good)).toEqual({ value: good });
    }
    for (const bad of ["vault", "http://vault:7404", "vault:", ":7404", "a b:1"]) {
      expect(vaultAddress.parse(bad)).toHaveProperty("problem");
    }
  });
});
