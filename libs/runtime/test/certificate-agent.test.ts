import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createAuthority, issueCertificate, readCertificateRequest } from "@nexus/pki";
import { createManualClock, createSilentLogger, NexusError } from "@nexus/shared";
import { createTempFolder, type TempFolder } from "@nexus/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CertificateAgent } from "../src/tls/certificate-agent.ts";
import { TlsFiles } from "../src/tls/tls-files.ts";

const HOUR_MS = 3_600_000;
const NAME = { trustDomain: "nexus.local", service: "registry" };
const AWAY = new NexusError({ kind: "unavailable", reason: "UNAVAILABLE", message: "away" });
const SEALED = new NexusError({ kind: "precondition", reason: "VAULT_SEALED", message: "sealed" });

const clock = createManualClock(Date.parse("2026-01-01T00:00:00Z"));
const authority = await createAuthority({
  commonName: "test",
  notBefore: new Date(clock.nowMs() - HOUR_MS),
  notAfter: new Date(clock.nowMs() + 1_000 * HOUR_MS),
});
const never = new AbortController().signal;
let folder: TempFolder;

beforeEach(async () => {
  folder = await createTempFolder();
});

afterEach(() => folder.remove());

/** An agent of one process on the folder, whose issuer may be away or sign for somebody else. */
function setUp(service = "registry") {
  const files = new TlsFiles(
    {
      certFile: join(folder.path, "made", "tls.crt"),
      keyFile: join(folder.path, "made", "tls.key"),
      caFile: join(folder.path, "made", "ca.crt"),
      name: NAME,
    },
    () => clock.nowMs(),
  );
  files.reload();
  const state = { issued: 0, away: 0, sealed: false };
  const agent = new CertificateAgent({
    service: "registry",
    files,
    logger: createSilentLogger(),
    nowMs: () => clock.nowMs(),
    isDown: (error) => error === AWAY,
    async issue(requestPem) {
      if (state.away-- > 0) throw AWAY;
      if (state.sealed) throw SEALED;
      state.issued += 1;
      const certificatePem = await issueCertificate({
        authority,
        publicKey: (await readCertificateRequest(requestPem)).publicKey,
        commonName: service,
        names: { uris: [`spiffe://nexus.local/nexus/${service}`], dnsNames: [], ipAddresses: [] },
        notBefore: new Date(clock.nowMs()),
        notAfter: new Date(clock.nowMs() + HOUR_MS),
      });
      return { certificatePem, trustBundlePem: authority.certPem };
    },
  });
  return { agent, files, state };
}

describe("the agent of a certificate", () => {
  it("waits for its issuer, writes the files, and the key for its owner alone", async () => {
    const { agent, files, state } = setUp();
    state.away = 2;
    await agent.ensure(never);
    expect(files.current?.ca?.toString()).toBe(authority.certPem);
    expect((await stat(files.files.keyFile)).mode & 0o777).toBe(0o600);
  });

  it("goes on with the files after a restart, and renews at two thirds of the life", async () => {
    await setUp().agent.ensure(never);
    const { agent, files, state } = setUp();
    await agent.ensure(never);
    expect(state.issued).toBe(0);
    const before = files.current?.cert;
    clock.advance(HOUR_MS * 0.66);
    await agent.step(never);
    expect(state.issued).toBe(0);
    clock.advance(HOUR_MS * 0.02);
    await agent.step(never);
    expect(state.issued).toBe(1);
    expect(files.current?.cert).not.toEqual(before);
  });

  it("starts with a certificate that is still good while its issuer is away", async () => {
    await setUp().agent.ensure(never);
    clock.advance(HOUR_MS * 0.9);
    const { agent, files, state } = setUp();
    state.away = Number.POSITIVE_INFINITY;
    await agent.ensure(never);
    expect(files.current).toBeDefined();
  });

  it("asks a sealed vault again at the next step, which does not count as a failure", async () => {
    const { agent, state } = setUp();
    state.sealed = true;
    for (const _ of [1, 2, 3]) await agent.step(never);
    state.sealed = false;
    state.away = 1;
    await expect(agent.step(never)).rejects.toBe(AWAY);
    await agent.step(never);
    expect(state.issued).toBe(1);
  });

  it("asks anew when a kill left a key without its certificate", async () => {
    const first = setUp();
    await first.agent.ensure(never);
    const stale = await readFile(first.files.files.certFile);
    await rm(first.files.files.certFile);
    await setUp().agent.ensure(never);
    await writeFile(first.files.files.certFile, stale);
    const { agent, files, state } = setUp();
    expect(files.current).toBeUndefined();
    await agent.ensure(never);
    expect(state.issued).toBe(1);
    expect(files.current).toBeDefined();
  });

  it("takes no certificate of another service", async () => {
    const { agent, files } = setUp("vault");
    await expect(agent.ensure(never)).rejects.toMatchObject({ reason: "CERTIFICATE_UNSOUND" });
    expect(files.current).toBeUndefined();
  });
});
