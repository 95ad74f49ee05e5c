/** Who gets to see a secret, and what holds when somebody reaches into the database. */
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { allow, deny, putPolicy } from "./_access.ts";
import { createUser, KEY, login, outcome, requestId, type Session } from "./_helpers.ts";
import { freshPath, put, read } from "./_secrets.ts";
import { openTenantSuite, type TenantSuite } from "./_suite.ts";

let { fleet, vault, other, admin, tenant, pool, close } = {} as TenantSuite;

beforeAll(async () => {
  ({ fleet, vault, other, admin, tenant, pool, close } = await openTenantSuite("team-other"));
});

afterAll(() => close());

/** Every method that names a path, on that path. */
function everyUse(path: string, caller: Session) {
  const { secrets } = vault;
  const change = () => ({ requestId: requestId(), path, versions: [1] });
  return {
    read: [
      () => secrets.getSecret({ path }, caller),
      () => secrets.getSecretMetadata({ path }, caller),
      () => secrets.listSecretVersions({ path }, caller),
      () => secrets.leaseSecret(change(), caller),
    ],
    delete: [
      () => secrets.deleteSecretVersions(change(), caller),
      () => secrets.undeleteSecretVersions(change(), caller),
    ],
    destroy: [
      () => secrets.destroySecretVersions(change(), caller),
      () => secrets.destroySecret(change(), caller),
    ],
    write: [
      () => secrets.updateSecretMetadata(change(), caller),
      () => secrets.putSecret({ ...change(), value: Buffer.from("x") }, caller),
    ],
  };
}

/** How each method ends, one after the other. */
async function outcomesOf(path: string, caller: Session): Promise<Record<string, string[]>> {
  const ended: Record<string, string[]> = {};
  for (const [verb, calls] of Object.entries(everyUse(path, caller))) {
    ended[verb] = [];
    for (const call of calls) ended[verb].push(await outcome(call()));
  }
  return ended;
}

const all = (ended: string) => ({
  read: four(ended),
  delete: two(ended),
  destroy: two(ended),
  write: two(ended),
});
const two = (ended: string) => [ended, ended];
const four = (ended: string) => [...two(ended), ...two(ended)];

const pathsFor = async (caller: Session, prefix = "") =>
  (await vault.secrets.listSecrets({ prefix }, caller)).secrets.map(({ path }) => path);

describe("a path", () => {
  it("needs the scope of the method and a scope for its folder, there or not", async () => {
    const path = freshPath("billing");
    await put(vault, admin, path);
    const reader = await createUser(vault, admin, { scopes: ["vault:*:*", "secret:billing:read"] });
    const refused = "forbidden/SECRET_FORBIDDEN";
    expect(await outcomesOf("payroll/x", reader)).toEqual(all(refused));
    expect(await outcomesOf(path, reader)).toEqual({ ...all(refused), read: four("ok") });
    const without = await createUser(vault, admin, { scopes: ["secret:*:*"] });
    expect(await outcomesOf(path, without)).toEqual(all("forbidden/SCOPE_MISSING"));
  });

  it("of another namespace looks like one that is not there", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    const absent = "not_found/SECRET_NOT_FOUND";
    // The last one puts a secret of the tenant's own.
    expect(await outcomesOf(path, tenant)).toEqual({ ...all(absent), write: [absent, "ok"] });
    expect(await read(vault, admin, path)).toBe("a secret");
  });
});

describe("ListSecrets", () => {
  it("pages by path through what begins with the prefix and may be read, full pages", async () => {
    const paths = ["l-a/1", "l-a/2", "l-b/1", "l-b/2", "l-b/3", "l-c/1", "l-c/2"];
    for (const path of [...paths, "l-a2"]) await put(vault, admin, path);
    expect(await pathsFor(admin, "l-a")).toEqual(["l-a/1", "l-a/2", "l-a2"]);
    expect(await pathsFor(admin, "l-a/")).toEqual(["l-a/1", "l-a/2"]);
    const scopes = ["vault:secret:read", "secret:l-a:read", "secret:l-c:read"];
    const reader = await createUser(vault, admin, { scopes });
    expect(await pathsFor(reader)).toEqual(["l-a/1", "l-a/2", "l-c/1", "l-c/2"]);
    expect(await pathsFor(reader, "l-b/")).toEqual([]);
    const list = (pageToken: string, prefix = "l-") =>
      vault.secrets.listSecrets({ prefix, page: { pageSize: 2, pageToken } }, reader);
    const first = await list("");
    expect(first.secrets.map(({ path }) => path)).toEqual(["l-a/1", "l-a/2"]);
    const pageToken = first.page?.nextPageToken ?? "";
    // The token says where the page ended, not what lies behind it that the caller may not see.
    expect(Buffer.from(pageToken, "base64url").toString()).not.toContain("l-b");
    const second = await list(pageToken);
    expect(second.secrets.map(({ path }) => path)).toEqual(["l-c/1", "l-c/2"]);
    expect(second.page?.nextPageToken).toBe("");
    expect(await outcome(list(pageToken, "l-c"))).toBe("invalid/PAGE_TOKEN_INVALID");
    expect(await pathsFor(tenant, "l-")).toEqual([]);
  });

  it("finds what may be read behind more than it reads at once", async () => {
    await pool.query(
      `INSERT INTO secrets (namespace, path, secret_id, latest_version, max_versions)
       SELECT 'default', 'm-hidden/' || n, 'hidden-' || n, 0, 1 FROM generate_series(1, 1200) n`,
    );
    await put(vault, admin, "m-shown/1");
    const scopes = ["vault:secret:read", "secret:m-shown:read"];
    const reader = await createUser(vault, admin, { scopes });
    expect(await pathsFor(reader, "m-")).toEqual(["m-shown/1"]);
  });
});

describe("a stored value", () => {
  const swap = (columns: string) => `
    UPDATE secret_versions v SET ${columns}
    FROM secret_versions o, secrets s, secrets t
    WHERE v.secret_id = s.secret_id AND s.path = $1 AND s.namespace = 'default' AND v.version = $2
      AND o.secret_id = t.secret_id AND t.path = $3 AND t.namespace = $4 AND o.version = $5`;
  const whole = "box = o.box, tenant_key_version = o.tenant_key_version, value = o.value";

  it.each([
    ["of another version", whole, "same", "default", 1],
    ["of another path", whole, "other", "default", 1],
    ["of another path, the value alone", "value = o.value", "other", "default", 1],
    ["of another version, the key alone", "box = o.box", "same", "default", 1],
    ["of another namespace", whole, "same", "team-other", 2],
  ])("does not open in the place of one %s", async (_, columns, which, namespace, version) => {
    const path = freshPath();
    const target = which === "same" ? path : freshPath();
    for (const caller of [admin, tenant]) {
      for (const where of new Set([path, target])) {
        await put(vault, caller, where);
        await put(vault, caller, where);
      }
    }
    const values = [path, 2, target, namespace, version];
    expect((await pool.query(swap(columns), values)).rowCount).toBe(1);
    expect(await outcome(read(vault, admin, path))).toBe("data_loss/SEALED_KEY_UNREADABLE");
    expect(await read(vault, admin, path, 1)).toBe("a secret");
  });

  it("goes under the next namespace key in the background, and the old key goes", async () => {
    const team = await createUser(vault, admin, { scopes: ["*"], namespace: "team-turning" });
    const paths = [freshPath(), freshPath(), freshPath()];
    for (const path of paths) await put(vault, team, path, { text: `of ${path}` });
    const [damaged = "", ...behind] = paths;
    await vault.secrets.destroySecretVersions(
      { requestId: requestId(), path: damaged, versions: [1] },
      team,
    );
    await vault.keys.rotateNamespaceKey({ requestId: requestId() }, team);
    // The destroyed one has no key any more.
    const { total } = await vault.keys.getRewrapProgress({}, team);
    expect(total).toBe(2n);
    await waitFor(async () => (await vault.keys.getRewrapProgress({}, team)).remaining === 0n, {
      what: "the rewrap",
    });
    const text = "SELECT version FROM tenant_keys WHERE namespace = 'team-turning'";
    await waitFor(
      async () => {
        const { rows } = await pool.query<{ version: number }>(text);
        return rows.map(({ version }) => version).join() === "2";
      },
      { what: "the old namespace key to go" },
    );
    const fresh = await fleet.start();
    for (const path of behind) expect(await read(fresh, team, path)).toBe(`of ${path}`);
    await fresh.stop();
  });

  it("is put anew when the namespace key that wraps it goes meanwhile", async () => {
    // As if it had gone before the first insert; the sequence remembers over the rollback.
    await pool.query(`
      CREATE SEQUENCE race;
      CREATE FUNCTION lose_race() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF nextval('vault.race') = 1 THEN
          NEW.tenant_key_version := 99;
        END IF;
        RETURN NEW;
      END $$;
      CREATE TRIGGER lose_race BEFORE INSERT ON secret_versions FOR EACH ROW
        EXECUTE FUNCTION lose_race()`);
    const path = freshPath();
    expect((await put(vault, admin, path)).version).toBe(1);
    await pool.query("DROP TRIGGER lose_race ON secret_versions");
    expect(await read(vault, admin, path)).toBe("a secret");
  });
});

describe("a sealed vault", () => {
  it("reads and changes no secret, and lists them", async () => {
    const path = freshPath("sealed");
    await put(vault, admin, path);
    await vault.seal.seal({}, admin);
    const sealed = "precondition/VAULT_SEALED";
    // Metadata needs no key.
    const reads = [sealed, "ok", "ok", sealed];
    expect(await outcomesOf(path, admin)).toEqual({ ...all(sealed), read: reads });
    expect(await pathsFor(admin, "sealed/")).toEqual([path]);
    await vault.seal.unseal({ rootKey: Buffer.from(KEY, "base64") });
    await waitFor(async () => (await outcome(read(other, admin, path))) === "ok", {
      what: "the other replica to open",
    });
    expect(await read(vault, admin, path)).toBe("a secret");
  });
});

describe("a policy on paths", () => {
  const FORBIDDEN = "forbidden/SECRET_FORBIDDEN";

  it("opens the paths it names, without any scope, and no other", async () => {
    const below = freshPath("shop");
    const beside = freshPath("other");
    await put(vault, admin, below);
    await put(vault, admin, beside);
    const { principalId } = await createUser(vault, admin, { scopes: ["a:b:c"] });
    const statements = [allow(["vault:secret:read"], ["shop/*"])];
    await putPolicy(vault, admin, { name: "shop", statements, principalIds: [principalId] });
    const reader = await login(vault, principalId, "a password of a user");
    expect(await read(vault, reader, below)).toBe("a secret");
    expect(await outcome(read(vault, reader, beside))).toBe(FORBIDDEN);
    const { secrets } = await vault.secrets.listSecrets({}, reader);
    expect(secrets.map(({ path }) => path)).toEqual([below]);
    const lease = { requestId: requestId(), path: beside };
    expect(await outcome(vault.secrets.leaseSecret(lease, reader))).toBe(FORBIDDEN);
    expect(await outcome(put(vault, reader, below))).toBe("forbidden/SCOPE_MISSING");
  });

  it("denies a path against every scope, in single reads, lists and leases", async () => {
    const prod = freshPath("vaulted/prod");
    const test = freshPath("vaulted/test");
    await put(vault, admin, prod);
    await put(vault, admin, test);
    const user = await createUser(vault, admin, { scopes: ["*"] });
    const statements = [deny(["vault:secret:*"], ["vaulted/prod/*"])];
    const { principalId } = user;
    await putPolicy(vault, admin, { name: "prod", statements, principalIds: [principalId] });
    const ended = await outcomesOf(prod, user);
    expect(ended).toEqual(all(FORBIDDEN));
    expect(await read(vault, user, test)).toBe("a secret");
    const listed = await vault.secrets.listSecrets({ prefix: "vaulted/" }, user);
    expect(listed.secrets.map(({ path }) => path)).toEqual([test]);
    await waitFor(async () => (await outcome(read(other, user, prod))) === FORBIDDEN, {
      timeoutMs: 1000,
      what: "the policy to arrive at the other replica",
    });
  });
});
