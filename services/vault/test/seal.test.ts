import { randomBytes } from "node:crypto";
import { SealReason } from "@nexus/proto/vault";
import { waitFor } from "@nexus/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { VaultConfig } from "../src/config.ts";
import {
  createFleet,
  createUser,
  type Fleet,
  grant,
  healthOf,
  KEY,
  login,
  outcome,
  REGISTRY_SECRET,
  type Replica,
  readinessOf,
  requestId,
} from "./_helpers.ts";

const SEALED = "precondition/VAULT_SEALED";
const ROOT_KEY = Buffer.from(KEY, "base64");
const NO_ROOT_KEY: Partial<VaultConfig> = { rootKey: undefined };

let fleet: Fleet;

beforeEach(async () => {
  fleet = await createFleet();
});

afterEach(async () => {
  await fleet.close();
});

const statusOf = async ({ seal }: Replica) => (await seal.getSealStatus({})).reason;

const opened = (replica: Replica) =>
  waitFor(async () => !(await replica.seal.getSealStatus({})).sealed, { what: "the unsealing" });

describe("a start without a root key", () => {
  it("is sealed: health and readiness say so, and calls that need a key are refused", async () => {
    const vault = await fleet.start(NO_ROOT_KEY);
    expect(await vault.seal.getSealStatus({})).toMatchObject({
      sealed: true,
      reason: SealReason.NO_ROOT_KEY,
    });
    expect(await healthOf(vault)).toBe("NOT_SERVING");
    expect(await readinessOf(vault)).toMatchObject({
      ready: false,
      checks: { seal: "sealed: no_root_key", postgres: "ok" },
    });
    expect(await outcome(login(vault))).toBe(SEALED);
    expect(await outcome(grant(vault, "registry", REGISTRY_SECRET, "nexus-system"))).toBe(SEALED);
    expect(await outcome(vault.auth.refreshToken({ refreshToken: "nxr_x" }))).toBe(SEALED);
    // Keys that verify are public, sealed or not.
    expect((await vault.auth.getJwks({})).jwksJson).toBe('{"keys":[]}');
  });

  it("takes no first root key from whoever calls first", async () => {
    const vault = await fleet.start(NO_ROOT_KEY);
    const call = vault.seal.unseal({ rootKey: randomBytes(32) });
    expect(await outcome(call)).toBe("precondition/VAULT_NOT_INITIALISED");
    expect(await statusOf(vault)).toBe(SealReason.NO_ROOT_KEY);
  });

  it("goes on verifying tokens, and opens with the right root key only", async () => {
    const before = await fleet.start();
    const admin = await login(before);
    await before.stop();
    const vault = await fleet.start(NO_ROOT_KEY);
    expect(await outcome(vault.auth.whoAmI({}, admin))).toBe("ok");
    expect(await outcome(vault.seal.getRootKeyStatus({}, admin))).toBe(SEALED);
    const rotation = vault.auth.rotateSigningKey({ requestId: requestId() }, admin);
    expect(await outcome(rotation)).toBe(SEALED);
    expect(await outcome(vault.seal.unseal({ rootKey: randomBytes(32) }))).toBe(
      "forbidden/ROOT_KEY_WRONG",
    );
    expect(await outcome(vault.seal.unseal({ rootKey: randomBytes(31) }))).toBe(
      "invalid/REQUEST_INVALID",
    );
    expect(await outcome(vault.seal.unsealFromProvider({}, admin))).toBe(
      "precondition/ROOT_KEY_MISSING",
    );
    expect(await outcome(login(vault))).toBe(SEALED);
    await vault.seal.unseal({ rootKey: ROOT_KEY });
    expect(await healthOf(vault)).toBe("SERVING");
    expect(await outcome(login(vault))).toBe("ok");
    expect(await vault.seal.getRootKeyStatus({}, admin)).toMatchObject({
      source: "operator",
      recoveryKeyId: "",
      tenantKeys: 1n,
      staleTenantKeys: 0n,
    });
    // Opening twice is the same as once.
    await vault.seal.unseal({ rootKey: ROOT_KEY });
    expect(await outcome(login(vault))).toBe("ok");
  });
});

describe("Seal", () => {
  it("closes every replica, outlives restarts, and ends with the root key", async () => {
    const [vault, other] = await Promise.all([fleet.start(), fleet.start()]);
    const admin = await login(vault);
    await vault.seal.seal({}, admin);
    expect(await statusOf(vault)).toBe(SealReason.BY_OPERATOR);
    expect(await outcome(login(vault))).toBe(SEALED);
    await waitFor(async () => (await statusOf(other)) === SealReason.BY_OPERATOR, {
      what: "the other replica to follow",
    });
    expect(await outcome(login(other))).toBe(SEALED);
    expect(await healthOf(other)).toBe("NOT_SERVING");
    expect(await outcome(other.auth.whoAmI({}, admin))).toBe("ok");
    const restarted = await fleet.start();
    expect(await statusOf(restarted)).toBe(SealReason.BY_OPERATOR);
    // Sealing what is sealed changes nothing.
    await restarted.seal.seal({}, admin);
    expect(await outcome(vault.seal.unseal({ rootKey: randomBytes(32) }))).toBe(
      "forbidden/ROOT_KEY_WRONG",
    );
    await vault.seal.unseal({ rootKey: ROOT_KEY });
    expect(await outcome(login(vault))).toBe("ok");
    await Promise.all([opened(other), opened(restarted)]);
    expect(await outcome(login(other))).toBe("ok");
  });

  it("forgets the key of digests, by which a refresh token or a repeated request would be known", async () => {
    const vault = await fleet.start();
    const admin = await login(vault);
    const introspect = () =>
      outcome(vault.auth.introspectToken({ token: admin.refreshToken }, admin));
    const request = { requestId: requestId() };
    const rotate = () => outcome(vault.auth.rotateSigningKey(request, admin));
    const rotated = await rotate();
    expect(await introspect()).toBe("ok");
    await vault.seal.seal({}, admin);
    expect([await introspect(), await rotate()]).toEqual([SEALED, SEALED]);
    await vault.seal.unseal({ rootKey: ROOT_KEY });
    expect([await introspect(), await rotate()]).toEqual(["ok", rotated]);
  });

  it("ends with the configured root key for who may unseal", async () => {
    const vault = await fleet.start();
    const admin = await login(vault);
    const user = await createUser(vault, admin, { scopes: ["vault:seal:read"] });
    await vault.seal.seal({}, admin);
    expect(await outcome(vault.seal.unsealFromProvider({}, user))).toBe("forbidden/SCOPE_MISSING");
    await vault.seal.unsealFromProvider({}, admin);
    expect(await outcome(login(vault))).toBe("ok");
    expect(await outcome(vault.seal.unsealFromProvider({}, admin))).toBe("ok");
    expect((await vault.seal.getRootKeyStatus({}, user)).source).toBe("environment");
  });

  it("is for the namespace that administers the others, whatever scopes a tenant holds", async () => {
    const vault = await fleet.start();
    const admin = await login(vault);
    const tenant = await createUser(vault, admin, { scopes: ["*"], namespace: "team-seal" });
    const calls = [
      vault.seal.seal({}, tenant),
      vault.seal.unsealFromProvider({}, tenant),
      vault.seal.getRootKeyStatus({}, tenant),
    ];
    const refused = await Promise.all(calls.map(outcome));
    expect(new Set(refused)).toEqual(new Set(["forbidden/NAMESPACE_FORBIDDEN"]));
    const agent = await createUser(vault, admin);
    expect(await outcome(vault.seal.seal({}, agent))).toBe("forbidden/SCOPE_MISSING");
    expect(await outcome(vault.seal.seal({}))).toBe("unauthenticated/TOKEN_MISSING");
    expect(await outcome(login(vault))).toBe("ok");
  });
});
