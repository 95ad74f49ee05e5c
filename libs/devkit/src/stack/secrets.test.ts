import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { serviceEnvironment } from "./environment.ts";
import { planPorts } from "./port-plan.ts";
import { openRootKeyFile, openSecrets } from "./secrets.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "nexus-secrets-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function vaultVariables(dataDir = folder): Record<string, string> {
  return serviceEnvironment("vault", {
    ports: planPorts(7400),
    secrets: openSecrets(dataDir),
    rootKeyFile: openRootKeyFile(dataDir),
    logLevel: undefined,
    extra: () => ({}),
  });
}

describe("openRootKeyFile", () => {
  it("makes one key of 32 bytes that only its owner reads, and keeps it", () => {
    const file = openRootKeyFile(folder);
    const text = readFileSync(file, "utf8");
    expect(Buffer.from(text, "base64").byteLength).toBe(32);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(openRootKeyFile(folder), "utf8")).toBe(text);
  });
});

describe("the variables of vault", () => {
  it("name the file and hold no root key", () => {
    const variables = vaultVariables();
    expect(variables["NEXUS_VAULT_ROOT_KEY_FILE"]).toBe(join(folder, "root.key"));
    expect(Object.keys(variables)).not.toContain("NEXUS_VAULT_ROOT_KEY");
    expect(Object.keys(variables)).not.toContain("NEXUS_VAULT_KEY_ENCRYPTION_KEY");
  });

  it("name a socket to open vault at, unless no socket could have so long a name", () => {
    const socket = vaultVariables()["NEXUS_VAULT_OPERATOR_SOCKET"];
    expect(socket).toBe(join(folder, "operator", "vault.sock"));
    const deep = mkdtempSync(join(folder, "x".repeat(100)));
    expect(Object.keys(vaultVariables(deep))).not.toContain("NEXUS_VAULT_OPERATOR_SOCKET");
  });

  it("still hold what a stack of before sealed with, so that it moves under the root key", () => {
    const keyEncryptionKey = Buffer.alloc(32, 1).toString("base64");
    writeFileSync(join(folder, "secrets.json"), JSON.stringify({ keyEncryptionKey }));
    expect(vaultVariables()["NEXUS_VAULT_KEY_ENCRYPTION_KEY"]).toBe(keyEncryptionKey);
    expect(openSecrets(folder).keyEncryptionKey).toBe(keyEncryptionKey);
  });
});
