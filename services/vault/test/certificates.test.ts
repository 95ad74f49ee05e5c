import { randomBytes, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { createCertificateRequest } from "@nexus/pki";
import { AuthService, CaService, KeyService, SealReason, SealService } from "@nexus/proto/vault";
import { createRpcChannel, createRpcClient, fixedTls, type RpcChannel } from "@nexus/rpc";
import { SYSTEM_NAMESPACE } from "@nexus/shared";
import { createTempFolder, createTestAuthority, type TempFolder, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { VaultConfig } from "../src/config.ts";
import {
  createAgent,
  createFleet,
  createUser,
  KEY,
  login,
  outcome,
  REGISTRY_SECRET,
  type Replica,
  readinessOf,
  requestId,
} from "./_helpers.ts";
import { startKms } from "./_kms.ts";
import { openSuite, type Suite } from "./_suite.ts";

const trustDomain = "nexus.local";
const HOUR_MS = 3_600_000;

let { fleet, vault, pool, close } = {} as Suite;
let folder: TempFolder;

beforeAll(async () => {
  ({ fleet, vault, pool, close } = await openSuite());
  folder = await createTempFolder();
});

afterAll(async () => {
  await close();
  await folder.remove();
});

beforeEach(async () => {
  await pool.query("DELETE FROM certificate_authorities");
});

async function serviceToken(channel: RpcChannel): Promise<string> {
  const { tokens } = await createRpcClient(AuthService, channel).grantClientToken({
    namespace: SYSTEM_NAMESPACE,
    principalId: "registry",
    clientSecret: REGISTRY_SECRET,
  });
  return tokens?.accessToken ?? "";
}

async function issue(channel: RpcChannel, names?: { uris?: string[]; dnsNames?: string[] }) {
  const wanted = names && { uris: [], dnsNames: [], ipAddresses: [], ...names };
  const { requestPem, keyPem } = await createCertificateRequest("registry", wanted);
  const ca = createRpcClient(CaService, channel);
  const answer = await ca.issueCertificate({ requestPem }, { token: await serviceToken(channel) });
  return { ...answer, keyPem, certificate: new X509Certificate(answer.certificatePem) };
}

/** Lets the time of the next authority come. */
async function letNextSign(): Promise<void> {
  await pool.query(
    "UPDATE certificate_authorities SET signs_from = now() WHERE signs_from > now()",
  );
}

describe("IssueCertificate", () => {
  it("gives a service a certificate of an hour with its own id, good for both ends", async () => {
    const { certificate, trustBundlePem, keyPem } = await issue(vault.channel);
    expect(certificate.subjectAltName).toBe(
      "URI:spiffe://nexus.local/nexus/registry, DNS:registry",
    );
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    expect(certificate.ca).toBe(false);
    expect(certificate.verify(new X509Certificate(trustBundlePem).publicKey)).toBe(true);
    const leftMs = Date.parse(certificate.validTo) - Date.now();
    expect(leftMs).toBeGreaterThan(HOUR_MS - 30_000);
    expect(leftMs).toBeLessThanOrEqual(HOUR_MS);
    expect(keyPem).toContain("PRIVATE KEY");
  });

  it("lets a request name what the service gets anyway, and nothing else", async () => {
    await issue(vault.channel, { uris: ["spiffe://nexus.local/nexus/registry"] });
    for (const foreign of [
      { uris: ["spiffe://nexus.local/nexus/vault"] },
      { uris: ["spiffe://other.example/nexus/registry"] },
      { dnsNames: ["gateway"] },
      { dnsNames: ["localhost"] },
    ]) {
      await expect(issue(vault.channel, foreign)).rejects.toMatchObject({
        kind: "forbidden",
        reason: "CERTIFICATE_NAME_FORBIDDEN",
      });
    }
  });

  it("refuses users and agents, whatever their scopes", async () => {
    const admin = await login(vault);
    const agent = await createAgent(vault, admin, { scopes: ["*"] });
    const { requestPem } = await createCertificateRequest("registry");
    const ca = createRpcClient(CaService, vault.channel);
    for (const caller of [admin.token, agent.token]) {
      const refused = ca.issueCertificate({ requestPem }, { token: caller });
      await expect(refused).rejects.toMatchObject({ reason: "SERVICE_ONLY" });
    }
    await expect(ca.issueCertificate({ requestPem })).rejects.toMatchObject({
      reason: "TOKEN_MISSING",
    });
  });

  it("refuses what is no request, and one whose signature is not its key's", async () => {
    const ca = createRpcClient(CaService, vault.channel);
    const token = await serviceToken(vault.channel);
    const { requestPem } = await createCertificateRequest("registry");
    const der = Buffer.from(requestPem.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
    der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
    const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
    for (const wrong of ["x", forged]) {
      await expect(ca.issueCertificate({ requestPem: wrong }, { token })).rejects.toMatchObject({
        kind: "invalid",
        reason: "CERTIFICATE_REQUEST_INVALID",
      });
    }
  });

  it("keeps the authority's key sealed, and makes one authority however many ask first", async () => {
    const answers = await Promise.all(Array.from({ length: 4 }, () => issue(vault.channel)));
    expect(new Set(answers.map((one) => one.trustBundlePem)).size).toBe(1);
    const { rows } = await pool.query<{ key_box: Buffer; box_key_version: number }>(
      "SELECT key_box, box_key_version FROM certificate_authorities",
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]?.box_key_version).toBeGreaterThan(0);
    expect(rows[0]?.key_box.includes("PRIVATE KEY")).toBe(false);
  });
});

describe("RotateCa", () => {
  async function rotate(id = requestId()) {
    const { token } = await login(vault);
    return createRpcClient(CaService, vault.channel).rotateCa({ requestId: id }, { token });
  }

  it("publishes the next authority before it signs, and keeps the one before for its last certificates", async () => {
    const first = await issue(vault.channel);
    const id = requestId();
    const { authority } = await rotate(id);
    expect((await rotate(id)).authority?.caId).toBe(authority?.caId);
    const meanwhile = await issue(vault.channel);
    expect(meanwhile.certificate.issuer).toBe(first.certificate.issuer);
    expect(meanwhile.trustBundlePem.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    await letNextSign();
    const after = await issue(vault.channel);
    expect(after.certificate.issuer).toBe(`CN=NEXUS ${authority?.caId}`);
    expect(after.trustBundlePem).toBe(meanwhile.trustBundlePem);
    const { token } = await login(vault);
    const ca = createRpcClient(CaService, vault.channel);
    const { authorities } = await ca.getTrustBundle({}, { token });
    expect(authorities.map(({ retireTime }) => retireTime !== undefined)).toEqual([true, false]);
    // The old one is trusted until what it signed last has ended.
    const lastEnds = BigInt(Date.parse(meanwhile.certificate.validTo) / 1000);
    expect(authorities[0]?.retireTime?.seconds).toBeGreaterThan(lastEnds);
  });

  it("makes the first authority, which signs at once, and none while one waits", async () => {
    const { authority } = await rotate();
    expect((await issue(vault.channel)).certificate.issuer).toBe(`CN=NEXUS ${authority?.caId}`);
    await rotate();
    await expect(rotate()).rejects.toMatchObject({
      kind: "precondition",
      reason: "CA_ROTATION_PENDING",
    });
  });

  it("refuses an administrator of one tenant", async () => {
    const tenant = await createUser(vault, await login(vault), {
      namespace: "acme",
      scopes: ["*"],
    });
    const ca = createRpcClient(CaService, vault.channel);
    await expect(
      ca.rotateCa({ requestId: requestId() }, { token: tenant.token }),
    ).rejects.toMatchObject({ reason: "NAMESPACE_FORBIDDEN" });
  });
});

describe("a vault that issues its own certificate", () => {
  const files = () => ({
    tlsCertFile: join(folder.path, "own", "tls.crt"),
    tlsKeyFile: join(folder.path, "own", "tls.key"),
    tlsCaFile: join(folder.path, "own", "ca.crt"),
  });
  const settings = (): Partial<VaultConfig> => ({
    tlsMode: "mutual",
    tlsIssuer: "vault",
    ...files(),
  });

  it("writes it before it listens, and gives a service its first by secret alone", async () => {
    const secure = await fleet.start(settings());
    expect((await stat(files().tlsKeyFile)).mode & 0o777).toBe(0o600);
    const ca = await readFile(files().tlsCaFile);
    const bare = createRpcChannel({
      address: secure.service.address,
      tls: fixedTls({ ca }, { peer: "vault", trustDomain }),
    });
    const { certificatePem, keyPem } = await issue(bare);
    // Everything else wants to see that certificate.
    const jwks = (channel: RpcChannel) => createRpcClient(AuthService, channel).getJwks({});
    await expect(jwks(bare)).rejects.toMatchObject({ reason: "PEER_UNKNOWN" });
    const pair = { cert: Buffer.from(certificatePem), key: Buffer.from(keyPem), ca };
    const known = createRpcChannel({
      address: secure.service.address,
      tls: fixedTls(pair, { peer: "vault", trustDomain }),
    });
    expect((await jwks(known)).jwksJson).toContain("keys");
    const guess = { principalId: "admin", password: "guess" };
    await expect(createRpcClient(AuthService, known).login(guess)).rejects.toMatchObject({
      reason: "CALLER_NOT_ALLOWED",
    });
    bare.close();
    known.close();
    await secure.stop();
  });

  it("is opened at its operator socket after a seal that outlasted it, running or started anew", async () => {
    const place = async (name: string): Promise<Partial<VaultConfig>> => ({
      ...settings(),
      tlsCertFile: join(folder.path, name, "tls.crt"),
      tlsKeyFile: join(folder.path, name, "tls.key"),
      tlsCaFile: join(folder.path, name, "ca.crt"),
      // Renewed by a loop of a second at two thirds of it.
      certificateTtlMs: 4_000,
      operatorSocket: join(folder.path, name, "operator", "vault.sock"),
    });
    const [runs, starts] = await Promise.all([place("runs"), place("starts")]);
    const running = await fleet.start(runs);
    const stopped = await fleet.start(starts);
    const channels: RpcChannel[] = [];
    const opened = (channel: RpcChannel) => {
      channels.push(channel);
      return channel;
    };
    const sealAt = ({ operatorSocket }: Partial<VaultConfig>) =>
      createRpcClient(SealService, opened(createRpcChannel({ address: `unix:${operatorSocket}` })));
    /** By TLS, as whoever knows the authority. */
    const reach = async ({ service }: Replica, { tlsCaFile }: Partial<VaultConfig>) => {
      const ca = await readFile(tlsCaFile ?? "");
      const tls = fixedTls({ ca }, { peer: "vault", trustDomain });
      const channel = createRpcChannel({ address: service.address, tls });
      const answer = await outcome(createRpcClient(SealService, channel).getSealStatus({}));
      channel.close();
      return answer;
    };
    const operator = sealAt(runs);
    // On a busy machine one may end before the next is there.
    const untilReached = (replica: Replica, at: Partial<VaultConfig>, what: string) =>
      waitFor(async () => (await reach(replica, at)) === "ok", { what });
    await untilReached(running, runs, "a certificate");
    // No token is asked for here, and what is entered says who it was.
    await operator.seal({});
    await waitFor(async () => (await reach(running, runs)) !== "ok", { what: "the end of it" });
    expect(await reach(running, runs)).toMatch(/^unavailable/);
    await stopped.stop();

    const starting = fleet.start(starts);
    const second = sealAt(starts);
    const answers = async () => (await outcome(second.getSealStatus({}))) === "ok";
    await waitFor(answers, { what: "a sealed start that answers at its socket" });
    expect(await second.getSealStatus({})).toMatchObject({ reason: SealReason.BY_OPERATOR });

    const guess = operator.unseal({ rootKey: randomBytes(32) });
    expect(await outcome(guess)).toBe("forbidden/ROOT_KEY_WRONG");
    await operator.unseal({ rootKey: Buffer.from(KEY, "base64") });
    await untilReached(running, runs, "a new certificate");
    // It has its root key, so it follows, and then it has a certificate to listen with.
    const again = await starting;
    await untilReached(again, starts, "the first certificate of a start");
    const entered = async () => {
      const { rows } = await pool.query<{ actor: string }>(
        "SELECT actor FROM audit_entries WHERE action LIKE '%.SealService/Seal' ORDER BY leaf_index",
      );
      return rows[0]?.actor === "vault:operator-socket";
    };
    await waitFor(entered, { what: "the entry of the seal" });
    for (const channel of channels) channel.close();
    await running.stop();
    await again.stop();
  });

  it("has no operator socket where others may come, where another vault listens, and for nothing but the seal", async () => {
    const operatorSocket = join(folder.path, "operator", "vault.sock");
    const plain = { operatorSocket };
    await mkdir(join(folder.path, "open"), { mode: 0o755 });
    const loose = fleet.start({ operatorSocket: join(folder.path, "open", "vault.sock") });
    await expect(loose).rejects.toMatchObject({ reason: "OPERATOR_SOCKET_UNSAFE" });
    const first = await fleet.start(plain);
    await expect(fleet.start(plain)).rejects.toMatchObject({ reason: "OPERATOR_SOCKET_UNSAFE" });
    const channel = createRpcChannel({ address: `unix:${operatorSocket}` });
    const admin = await login(first);
    const call = createRpcClient(KeyService, channel).listKeys({}, admin);
    await expect(call).rejects.toMatchObject({ kind: "unimplemented" });
    const seal = createRpcClient(SealService, channel);
    // A token that is sent counts, and one that is wrong is not overlooked.
    await expect(seal.seal({}, { token: "a.b.c" })).rejects.toMatchObject({
      reason: "TOKEN_INVALID",
    });
    await expect(first.seal.seal({})).rejects.toMatchObject({ reason: "TOKEN_MISSING" });
    // For a root key that nobody can bring, after more than the hour that a token lives.
    await seal.seal({});
    expect((await seal.getSealStatus({})).sealed).toBe(true);
    await seal.unsealFromProvider({});
    expect((await seal.getSealStatus({})).sealed).toBe(false);
    channel.close();
    await first.stop();
  });

  it("takes the place of an operator socket that a killed vault left, and of nothing else", async () => {
    const left = join(folder.path, "left");
    await mkdir(left, { mode: 0o700 });
    const operatorSocket = join(left, "vault.sock");
    const dead = createServer().listen(operatorSocket);
    await once(dead, "listening");
    // A server that ends in good order removes its socket; a killed one does not.
    await rename(operatorSocket, join(left, "aside"));
    await new Promise((resolve) => dead.close(resolve));
    await rename(join(left, "aside"), operatorSocket);
    await (await fleet.start({ operatorSocket })).stop();
    await writeFile(operatorSocket, "notes");
    await expect(fleet.start({ operatorSocket })).rejects.toMatchObject({
      reason: "OPERATOR_SOCKET_UNSAFE",
    });
    expect(await readFile(operatorSocket, "utf8")).toBe("notes");
  });

  it("does not start sealed without one, since nobody could open it, and starts with the one it has", async () => {
    const sealed: Partial<VaultConfig> = { ...settings(), rootKey: undefined };
    await (await fleet.start(sealed)).stop();
    const nowhere = join(folder.path, "nowhere");
    const without = {
      ...sealed,
      tlsCertFile: join(nowhere, "tls.crt"),
      tlsKeyFile: join(nowhere, "tls.key"),
      tlsCaFile: join(nowhere, "ca.crt"),
    };
    await expect(fleet.start(without)).rejects.toMatchObject({ reason: "VAULT_SEALED" });
  });
});

describe("a KMS beyond this machine", () => {
  it("is called over TLS with vault's certificate, and only if its own is for its host", async () => {
    const authority = await createTestAuthority();
    const own = await authority.writeFiles(join(folder.path, "kms"), { service: "vault" });
    const start = async (ipAddresses: readonly string[]) => {
      const pair = await authority.issue({ ipAddresses });
      const tls = fixedTls(
        { ...pair, ca: authority.ca },
        { clientCertificates: "required", trustDomain },
      );
      const kms = await startKms(new Map(), 0, tls);
      // This machine by an address that does not look like it.
      const kmsEndpoint = `0.0.0.0:${kms.port}`;
      const values: Partial<VaultConfig> = {
        ...own,
        tlsMode: "mutual",
        rootKey: undefined,
        kmsEndpoint,
      };
      return { kms, values };
    };
    const separate = await createFleet();
    const good = await start(["0.0.0.0"]);
    const running = await separate.start(good.values);
    const ready = await readinessOf(running);
    expect(ready).toMatchObject({ checks: { seal: "ok" } });
    await running.stop();
    const wrong = await start(["10.9.8.7"]);
    const refused = await readinessOf(await separate.start(wrong.values));
    expect(refused).toMatchObject({ checks: { seal: expect.stringContaining("sealed") } });
    await separate.close();
    await good.kms.close();
    await wrong.kms.close();
  });
});
