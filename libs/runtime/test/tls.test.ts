import { chmod, copyFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { type ConfigManager, type ConfigOf, defineConfig, serviceFields } from "@nexus/core";
import { createServiceFrame } from "@nexus/runtime";
import { createLogger } from "@nexus/shared";
import {
  createTempFolder,
  createTestAuthority,
  createTestIdentity,
  type TempFolder,
  type TestTlsFiles,
  testConfig,
  waitFor,
} from "@nexus/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const schema = defineConfig({
  service: "registry",
  fields: serviceFields("registry", { grpcPort: 7401, opsPort: 9401 }),
});
type Config = ConfigOf<typeof schema>;

const authority = await createTestAuthority();
const identity = createTestIdentity();
const open: AsyncDisposable[] = [];
let folder: TempFolder;
let files: TestTlsFiles;

beforeEach(async () => {
  folder = await createTempFolder();
  files = await authority.writeFiles(folder.path, { service: "registry" });
});

afterEach(async () => {
  for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
  await folder.remove();
});

function configOf(values: Partial<Config> = {}): ConfigManager<Config> {
  return testConfig(schema, { tlsMode: "mutual", ...files, ...values });
}

async function start(config = configOf(), lines: string[] = []) {
  const write = (line: string) => void lines.push(line);
  const logger = createLogger({ service: "registry", level: "info", destination: { write } });
  const frame = await createServiceFrame({
    service: "registry",
    config,
    overrides: { verifier: identity.verifier, logger },
  });
  open.push(frame);
  return frame.start();
}

async function metric(opsAddress: string, name: string): Promise<number> {
  const text = await (await fetch(`http://${opsAddress}/metrics`)).text();
  return Number(new RegExp(`^${name} (.+)$`, "m").exec(text)?.[1]);
}

async function problemsOf(starting: Promise<unknown>): Promise<string> {
  try {
    await starting;
    return "none";
  } catch (error) {
    return (error as Error).message;
  }
}

describe("the certificates of a service", () => {
  it("refuse a start by everything that is wrong with them at once", async () => {
    await chmod(files.tlsKeyFile, 0o644);
    await rm(files.tlsCaFile);
    await authority.writeFiles(join(folder.path, "late"), { service: "registry", lifeMs: -1_000 });
    await copyFile(join(folder.path, "late", "tls.crt"), files.tlsCertFile);
    const problems = await problemsOf(start());
    expect(problems).toContain("has 3 problems");
    expect(problems).toMatch(/NEXUS_TLS_CERT_FILE expired at \d{4}/);
    expect(problems).toMatch(/NEXUS_TLS_KEY_FILE names .* has mode 0644; use 0400 or 0600/);
    expect(problems).toMatch(/NEXUS_TLS_CA_FILE names .* cannot be read \(ENOENT\)/);
  });

  it("refuse a key of another certificate, and a certificate of another service", async () => {
    await authority.writeFiles(join(folder.path, "other"), { service: "vault" });
    await copyFile(join(folder.path, "other", "tls.crt"), files.tlsCertFile);
    const problems = await problemsOf(start());
    expect(problems).toContain("NEXUS_TLS_KEY_FILE is not the key of the certificate");
    expect(problems).toContain("must be spiffe://nexus.local/nexus/registry");
  });

  it("refuse what is no certificate, no key and no file, and show nothing of it", async () => {
    await writeFile(files.tlsCertFile, "-----BEGIN CERTIFICATE-----\nAAAA\n");
    await writeFile(files.tlsKeyFile, "not-a-key-but-a-secret", { mode: 0o600 });
    const problems = await problemsOf(start(configOf({ tlsCaFile: folder.path })));
    expect(problems).toContain("NEXUS_TLS_CERT_FILE holds no readable certificate");
    expect(problems).toContain("NEXUS_TLS_KEY_FILE holds no readable private key");
    expect(problems).toContain("is no regular file");
    expect(problems).not.toContain("not-a-key");
  });

  it("export how long they last", async () => {
    const { opsAddress } = await start();
    const seconds = await metric(opsAddress, "nexus_tls_certificate_expiry_seconds");
    expect(seconds).toBeGreaterThan(3_000);
    expect(seconds).toBeLessThanOrEqual(3_600);
    expect(await metric(opsAddress, "nexus_tls_ca_expiry_seconds")).toBeGreaterThan(80_000);
  });

  it("are read again at a reload, and stay what they were while the new ones are not sound", async () => {
    const lines: string[] = [];
    const config = configOf();
    const { opsAddress } = await start(config, lines);
    await writeFile(files.tlsCertFile, "half a certifi");
    config.reload();
    expect(lines.at(-1)).toContain("certificate files refused, the old ones stay");
    expect(await metric(opsAddress, "nexus_tls_certificate_expiry_seconds")).toBeGreaterThan(3_000);
    await authority.writeFiles(folder.path, { service: "registry", lifeMs: 7_200_000 });
    config.reload();
    expect(await metric(opsAddress, "nexus_tls_certificate_expiry_seconds")).toBeGreaterThan(7_000);
    expect(lines.join("")).toContain("new certificate in force");
  });

  it("are read again when they change", async () => {
    const { opsAddress } = await start();
    await authority.writeFiles(folder.path, { service: "registry", lifeMs: 7_200_000 });
    await waitFor(
      async () => (await metric(opsAddress, "nexus_tls_certificate_expiry_seconds")) > 7_000,
      { what: "the new certificate" },
    );
  });

  it("serve the operators' port as well, where that is asked for", async () => {
    const { opsAddress } = await start(configOf({ tlsOps: true }));
    const status = await new Promise((resolve, reject) => {
      const call = request(`https://${opsAddress}/live`, { ca: authority.ca }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      call.on("error", reject).end();
    });
    expect(status).toBe(200);
    await expect(fetch(`http://${opsAddress}/live`)).rejects.toThrow();
  });
});

describe("the TLS settings", () => {
  const load = (values: Partial<Config>) => () => testConfig(schema, values);

  it("refuse certificates that nothing would use, and a mode without certificates", () => {
    expect(load({ ...files })).toThrow("NEXUS_TLS_CERT_FILE needs NEXUS_TLS_MODE");
    expect(load({ tlsMode: "server" })).toThrow("NEXUS_TLS_CERT_FILE is not set");
    expect(load({ tlsMode: "server", tlsCertFile: "a", tlsKeyFile: "b" })).not.toThrow();
    expect(load({ tlsMode: "mutual", tlsCertFile: "a", tlsKeyFile: "b" })).toThrow(
      "NEXUS_TLS_CA_FILE is not set, but NEXUS_TLS_MODE is `mutual`",
    );
    expect(load({ tlsCertFile: "a", tlsMode: "server" })).toThrow("NEXUS_TLS_KEY_FILE is not set");
  });
});
