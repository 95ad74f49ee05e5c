import { ConfigError } from "@nexus/core";
import { createPool } from "@nexus/postgres";
import { createLogger } from "@nexus/shared";
import { createTestDatabase, testConfig } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type VaultConfig, vaultSchema } from "../src/config.ts";
import { startServer } from "../src/server.ts";
import {
  createFleet,
  type Fleet,
  grant,
  KEY,
  login,
  outcome,
  REGISTRY_SECRET,
} from "./_helpers.ts";

let fleet: Fleet;

beforeAll(async () => {
  fleet = await createFleet();
  const first = await fleet.start();
  await first.stop();
});

afterAll(async () => {
  await fleet.close();
});

const REFUSED = "unauthenticated/CREDENTIALS_INVALID";

describe("the first start", () => {
  it("makes and prints one password when none was given, once", async () => {
    const database = await createTestDatabase("vault");
    const lines: string[] = [];
    const logger = createLogger({
      service: "vault",
      destination: { write: (line: string) => void lines.push(line) },
    });
    const values = {
      databaseUrl: database.url,
      rootKey: KEY,
      passwordIterations: 100_000,
    };
    const start = async () => startServer(testConfig(vaultSchema, values), { logger });
    const first = await start();
    const second = await start();
    const warnings = lines.filter((line) => line.includes("generated password"));
    expect(warnings.length).toBe(1);
    expect(JSON.parse(warnings[0] ?? "{}")).toMatchObject({ level: "warn" });
    await first[Symbol.asyncDispose]();
    await second[Symbol.asyncDispose]();
    await database.close();
  });
});

describe("a later start", () => {
  it("leaves the administrator's password alone", async () => {
    const vault = await fleet.start({ bootstrapAdminPassword: "another password" });
    expect(await outcome(login(vault))).toBe("ok");
    expect(await outcome(login(vault, "admin", "another password"))).toBe(REFUSED);
    await vault.stop();
  });

  it("replaces a service's secret that has changed", async () => {
    const changed = "c".repeat(43);
    const vault = await fleet.start({ bootstrapServiceSecrets: `registry=${changed}` });
    expect(await outcome(grant(vault, "registry", REGISTRY_SECRET, "nexus-system"))).toBe(REFUSED);
    expect(await outcome(grant(vault, "registry", changed, "nexus-system"))).toBe("ok");
    const back = await fleet.start();
    expect(await outcome(grant(back, "registry", REGISTRY_SECRET, "nexus-system"))).toBe("ok");
    const pool = createPool({
      url: fleet.database.url,
      max: 1,
      applicationName: "test",
      schema: "vault",
    });
    const { rows } = await pool.query<{ version: number }>(
      "SELECT credential_version AS version FROM principals WHERE principal_id = 'registry'",
    );
    // Created, changed, changed back; an unchanged start in between would not count.
    expect(rows[0]?.version).toBe(3);
    await pool.close();
    await vault.stop();
    await back.stop();
  });
});

describe("a wrong configuration", () => {
  it("is refused with every problem named and no secret shown", () => {
    const secret = "z".repeat(31);
    try {
      testConfig(vaultSchema, {
        databaseUrl: "postgres://x",
        rootKey: `${secret}-too-short`,
        bootstrapServiceSecrets: `registry=${secret}`,
        keyOverlapMs: 1000,
        jwksMaxAgeMs: 2000,
      });
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
      const { message } = error as ConfigError;
      for (const env of [
        "NEXUS_VAULT_ROOT_KEY",
        "NEXUS_VAULT_BOOTSTRAP_SERVICE_SECRETS",
        "NEXUS_VAULT_KEY_OVERLAP_MS",
      ]) {
        expect(message).toContain(env);
      }
      expect(message).not.toContain(secret);
    }
  });

  it("is refused with two root keys, half of a pair, and a remote KMS in the clear", () => {
    const cases: [Partial<VaultConfig>, string][] = [
      [{ rootKey: KEY, rootKeyFile: "/root.key" }, "keep one"],
      [{ rootKeyFile: "/root.key", kmsEndpoint: "unix:/kms.sock" }, "keep one"],
      [{ rootKeyPrevious: KEY }, "needs NEXUS_VAULT_ROOT_KEY beside it"],
      [{ rootKeyPreviousFile: "/root.key" }, "needs NEXUS_VAULT_ROOT_KEY_FILE beside it"],
      [{ kmsEndpoint: "kms.example:443" }, "is not on this machine"],
    ];
    for (const [values, problem] of cases) {
      const load = () => testConfig(vaultSchema, { databaseUrl: "postgres://x", ...values });
      expect(load, problem).toThrow(problem);
    }
  });

  it("has no default for a key, and a floor for the work of a password", () => {
    const { fields } = vaultSchema;
    expect(fields.rootKey.defaultValue).toBeUndefined();
    expect(fields.rootKey.secret).toBe(true);
    expect(fields.rootKey.fromFile).toBe(false);
    expect(fields.passwordIterations.range).toContain("100000");
  });
});
