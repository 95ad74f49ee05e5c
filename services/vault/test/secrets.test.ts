import { SecretVersionState as State } from "@nexus/proto/vault";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deleteEnded } from "../src/store/cleanup-store.ts";
import { failure, outcome, requestId } from "./_helpers.ts";
import { freshPath, put, read } from "./_secrets.ts";
import { openTenantSuite, type TenantSuite } from "./_suite.ts";

let { vault, other, admin, pool, close } = {} as TenantSuite;

beforeAll(async () => {
  ({ vault, other, admin, pool, close } = await openTenantSuite("team-secrets"));
});

afterAll(() => close());

const request = (path: string, versions: number[] = []) => ({
  requestId: requestId(),
  path,
  versions,
});
const expire = (path: string) =>
  pool.query(
    `UPDATE secret_versions v SET expires_at = clock_timestamp() - interval '1 second'
     FROM secrets s WHERE s.secret_id = v.secret_id AND s.path = $1`,
    [path],
  );
const statesOf = async (path: string) => {
  const { versions } = await vault.secrets.listSecretVersions({ path }, admin);
  return versions.map(({ version, state }) => `${version} ${State[state]}`);
};

describe("PutSecret and GetSecret", () => {
  it("keep versions, newest first, readable on every replica at once", async () => {
    const path = freshPath();
    const first = await put(vault, admin, path, { text: "one" });
    expect(first).toMatchObject({
      version: 1,
      state: State.ACTIVE,
      sizeBytes: 3,
      createdBy: "admin",
      expireTime: undefined,
    });
    expect((await put(other, admin, path, { text: "two" })).version).toBe(2);
    expect(await read(vault, admin, path)).toBe("two");
    expect(await read(other, admin, path, 1)).toBe("one");
    expect(await vault.secrets.getSecret({ path, version: 1 }, admin)).toMatchObject({
      version: { version: 1 },
      latestVersion: 2,
    });
    const { versions, page } = await vault.secrets.listSecretVersions(
      { path, page: { pageSize: 1 } },
      admin,
    );
    expect(versions.map(({ version }) => version)).toEqual([2]);
    const next = { path, page: { pageSize: 1, pageToken: page?.nextPageToken ?? "" } };
    const rest = await vault.secrets.listSecretVersions(next, admin);
    expect(rest.versions.map(({ version }) => version)).toEqual([1]);
    expect(rest.page?.nextPageToken).toBe("");
  });

  it("make one version for all retries of a request", async () => {
    const path = freshPath();
    const again = { requestId: requestId(), text: "once" };
    const made = await put(vault, admin, path, again);
    expect(await put(vault, admin, path, again)).toEqual(made);
    expect(await put(other, admin, path, again)).toEqual(made);
    expect(await outcome(put(vault, admin, path, { ...again, text: "twice" }))).toBe(
      "conflict/REQUEST_ID_REUSED",
    );
    expect(await statesOf(path)).toEqual(["1 ACTIVE"]);
  });

  it("let one of eight writers win each version, whichever replica they ask", async () => {
    const path = freshPath();
    for (let expected = 0; expected < 5; expected++) {
      const outcomes = await Promise.all(
        Array.from({ length: 8 }, (_, writer) =>
          outcome(
            put(writer % 2 === 0 ? vault : other, admin, path, {
              expectedVersion: expected,
              text: `${expected} by ${writer}`,
            }),
          ),
        ),
      );
      const winners = [...outcomes.keys()].filter((writer) => outcomes[writer] === "ok");
      expect(winners.length).toBe(1);
      const others = outcomes.filter((ended) => ended !== "ok");
      expect(new Set(others)).toEqual(new Set(["conflict/SECRET_VERSION_MISMATCH"]));
      expect(await read(vault, admin, path, expected + 1)).toBe(`${expected} by ${winners[0]}`);
    }
    const late = await failure(put(vault, admin, path, { expectedVersion: 0 }));
    expect(late.details.metadata).toEqual({ latest_version: "5" });
  });

  it("lose none of eight puts that expect nothing", async () => {
    const path = freshPath();
    const texts = Array.from({ length: 8 }, (_, writer) => `by ${writer}`);
    const made = await Promise.all(
      texts.map((text, writer) => put(writer % 2 === 0 ? vault : other, admin, path, { text })),
    );
    expect(new Set(made.map(({ version }) => version))).toEqual(new Set([1, 2, 3, 4, 5, 6, 7, 8]));
    for (const [writer, { version }] of made.entries()) {
      expect(await read(vault, admin, path, version)).toBe(texts[writer]);
    }
  });

  it("leave nothing behind when a first put is refused", async () => {
    const path = freshPath();
    const refused = put(vault, admin, path, { expectedVersion: 3 });
    expect(await outcome(refused)).toBe("conflict/SECRET_VERSION_MISMATCH");
    expect(await outcome(read(vault, admin, path))).toBe("not_found/SECRET_NOT_FOUND");
  });

  it("tell a version that never was from a secret that is not there", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    expect(await outcome(read(vault, admin, path, 2))).toBe("not_found/SECRET_VERSION_NOT_FOUND");
    expect(await outcome(read(vault, admin, freshPath()))).toBe("not_found/SECRET_NOT_FOUND");
  });

  it.each([
    "",
    "/app",
    "app/",
    "app//x",
    "app/../x",
    "app/.hidden",
    "App/x",
    "app/a b",
    "app/é",
    "app/%2e",
    `app/${"x".repeat(253)}`,
    Array.from({ length: 17 }, () => "a").join("/"),
  ])("refuse the path %j", async (path) => {
    expect(await outcome(put(vault, admin, path))).toBe("invalid/REQUEST_INVALID");
    expect(await outcome(read(vault, admin, path))).toBe("invalid/REQUEST_INVALID");
  });

  it("take values of 1 byte to 64 KiB", async () => {
    const path = freshPath();
    const longest = "x".repeat(65_536);
    await put(vault, admin, path, { text: longest });
    expect(await read(vault, admin, path)).toBe(longest);
    for (const text of ["", `${longest}x`]) {
      expect(await outcome(put(vault, admin, path, { text }))).toBe("invalid/REQUEST_INVALID");
    }
  });
});

describe("a version's time", () => {
  it("is over by the database's clock, and its value goes with it", async () => {
    const path = freshPath();
    const { expireTime } = await put(vault, admin, path, { ttl: { seconds: 3600n } });
    const inS = Number(expireTime?.seconds ?? 0n) - Date.now() / 1000;
    expect(inS).toBeGreaterThan(3000);
    expect(inS).toBeLessThan(3700);
    expect(await read(vault, admin, path)).toBe("a secret");
    await expire(path);
    expect(await outcome(read(vault, admin, path))).toBe("precondition/SECRET_EXPIRED");
    expect(await statesOf(path)).toEqual(["1 EXPIRED"]);
    const undelete = vault.secrets.undeleteSecretVersions(request(path, [1]), admin);
    expect(await outcome(undelete)).toBe("precondition/SECRET_EXPIRED");
    await deleteEnded(pool, new AbortController().signal);
    const { rows } = await pool.query<{ left: number }>(
      `SELECT count(v.value)::integer AS left FROM secret_versions v JOIN secrets s USING (secret_id)
       WHERE s.path = $1`,
      [path],
    );
    expect(rows[0]?.left).toBe(0);
    expect(await statesOf(path)).toEqual(["1 EXPIRED"]);
    expect(await outcome(read(vault, admin, path))).toBe("precondition/SECRET_EXPIRED");
  });

  it("is the secret's own unless the put says otherwise", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    const versionTtl = { seconds: 60n };
    await vault.secrets.updateSecretMetadata({ requestId: requestId(), path, versionTtl }, admin);
    expect((await put(vault, admin, path)).expireTime).toBeDefined();
    expect((await put(vault, admin, path, { ttl: {} })).expireTime).toBeUndefined();
  });
});

describe("DeleteSecretVersions, UndeleteSecretVersions and DestroySecretVersions", () => {
  it("hide the newest version, bring it back, and never fall back to an older one", async () => {
    const path = freshPath();
    await put(vault, admin, path, { text: "old" });
    await put(vault, admin, path, { text: "new" });
    const gone = request(path);
    const deleted = await vault.secrets.deleteSecretVersions(gone, admin);
    expect(deleted.versions.map(({ version, state }) => [version, state])).toEqual([
      [2, State.DELETED],
    ]);
    expect(await outcome(read(vault, admin, path))).toBe("precondition/SECRET_DELETED");
    expect(await read(other, admin, path, 1)).toBe("old");
    // The number of a deleted version is still the one to expect.
    expect(await outcome(put(vault, admin, path, { expectedVersion: 1 }))).toBe(
      "conflict/SECRET_VERSION_MISMATCH",
    );
    await vault.secrets.undeleteSecretVersions(request(path, [2]), admin);
    expect(await read(vault, admin, path)).toBe("new");
    // A retry that comes late does not delete again.
    await vault.secrets.deleteSecretVersions(gone, admin);
    expect(await read(vault, admin, path)).toBe("new");
  });

  it("remove the bytes of destroyed versions for ever, and of no others", async () => {
    const path = freshPath();
    for (const text of ["one", "two", "three"]) await put(vault, admin, path, { text });
    await vault.secrets.deleteSecretVersions(request(path, [1]), admin);
    const { versions } = await vault.secrets.destroySecretVersions(request(path, [1, 2]), admin);
    expect(versions.map(({ version }) => version)).toEqual([2, 1]);
    expect(await statesOf(path)).toEqual(["3 ACTIVE", "2 DESTROYED", "1 DESTROYED"]);
    for (const version of [1, 2]) {
      const ended = await outcome(read(vault, admin, path, version));
      expect(ended).toBe("precondition/SECRET_DESTROYED");
    }
    const undelete = vault.secrets.undeleteSecretVersions(request(path, [3, 2]), admin);
    expect(await outcome(undelete)).toBe("precondition/SECRET_DESTROYED");
    const { rows } = await pool.query(
      `SELECT v.version FROM secret_versions v JOIN secrets s USING (secret_id)
       WHERE s.path = $1 AND (v.value IS NOT NULL OR v.box IS NOT NULL)`,
      [path],
    );
    expect(rows).toEqual([{ version: 3 }]);
    expect(await read(vault, admin, path)).toBe("three");
  });

  it("change nothing when one of the versions is not there", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    for (const call of ["deleteSecretVersions", "destroySecretVersions"] as const) {
      expect(await outcome(vault.secrets[call](request(path, [1, 2]), admin))).toBe(
        "not_found/SECRET_VERSION_NOT_FOUND",
      );
    }
    expect(await read(vault, admin, path)).toBe("a secret");
    const nothing = vault.secrets.destroySecretVersions(request(path), admin);
    expect(await outcome(nothing)).toBe("invalid/REQUEST_INVALID");
    const nowhere = vault.secrets.deleteSecretVersions(request(freshPath()), admin);
    expect(await outcome(nowhere)).toBe("not_found/SECRET_NOT_FOUND");
  });
});

describe("DestroySecret", () => {
  it("frees the path for a secret in which no old row opens", async () => {
    const path = freshPath();
    await put(vault, admin, path, { text: "old" });
    const { rows } = await pool.query<{ box: Buffer; value: Buffer }>(
      `SELECT v.box, v.value FROM secret_versions v JOIN secrets s USING (secret_id)
       WHERE s.path = $1`,
      [path],
    );
    const destroy = { requestId: requestId(), path };
    await vault.secrets.destroySecret(destroy, admin);
    await vault.secrets.destroySecret(destroy, admin);
    expect(await outcome(read(vault, admin, path))).toBe("not_found/SECRET_NOT_FOUND");
    const again = vault.secrets.destroySecret({ requestId: requestId(), path }, admin);
    expect(await outcome(again)).toBe("not_found/SECRET_NOT_FOUND");
    expect((await put(vault, admin, path, { expectedVersion: 0 })).version).toBe(1);
    await pool.query(
      `UPDATE secret_versions v SET box = $2, value = $3
       FROM secrets s WHERE s.secret_id = v.secret_id AND s.path = $1`,
      [path, rows[0]?.box, rows[0]?.value],
    );
    expect(await outcome(read(vault, admin, path))).toBe("data_loss/SEALED_KEY_UNREADABLE");
  });
});

describe("GetSecretMetadata and UpdateSecretMetadata", () => {
  it("describe a secret without its value, and change what is set", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    const labels = { values: { owner: "billing" } };
    const patch = { requestId: requestId(), path, casRequired: true, labels };
    const { secret } = await vault.secrets.updateSecretMetadata(patch, admin);
    expect(secret).toMatchObject({
      path,
      latestVersion: 1,
      maxVersions: 10,
      casRequired: true,
      labels: { owner: "billing" },
      versionTtl: undefined,
    });
    const described = await other.secrets.getSecretMetadata({ path }, admin);
    expect(described.secret).toEqual(secret);
    expect(described.version?.version).toBe(1);
    expect(await outcome(put(vault, admin, path))).toBe("precondition/SECRET_CAS_REQUIRED");
    expect((await put(vault, admin, path, { expectedVersion: 1 })).version).toBe(2);
    const nowhere = { requestId: requestId(), path: freshPath(), casRequired: true };
    expect(await outcome(vault.secrets.updateSecretMetadata(nowhere, admin))).toBe(
      "not_found/SECRET_NOT_FOUND",
    );
    expect(await outcome(vault.secrets.getSecretMetadata(nowhere, admin))).toBe(
      "not_found/SECRET_NOT_FOUND",
    );
  });

  it("bound how many versions are kept, from the next put or at once", async () => {
    const path = freshPath();
    for (let version = 1; version <= 12; version++) await put(vault, admin, path);
    expect((await statesOf(path)).length).toBe(10);
    expect(await outcome(read(vault, admin, path, 2))).toBe("not_found/SECRET_VERSION_NOT_FOUND");
    const fewer = { requestId: requestId(), path, maxVersions: 2 };
    await vault.secrets.updateSecretMetadata(fewer, admin);
    expect(await statesOf(path)).toEqual(["12 ACTIVE", "11 ACTIVE"]);
    await put(vault, admin, path);
    expect(await statesOf(path)).toEqual(["13 ACTIVE", "12 ACTIVE"]);
  });
});

describe("the limit of a namespace", () => {
  it("refuses another secret and goes on taking versions", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    await pool.query(
      `INSERT INTO secrets (namespace, path, secret_id, latest_version, max_versions)
       SELECT 'default', 'filler/' || n, 'filler-' || n, 0, 1 FROM generate_series(1, 10000) n`,
    );
    expect(await outcome(put(vault, admin, freshPath()))).toBe("exhausted/SECRET_LIMIT");
    expect(await outcome(put(vault, admin, path))).toBe("ok");
    await pool.query("DELETE FROM secrets WHERE path LIKE 'filler/%'");
    expect(await outcome(put(vault, admin, freshPath()))).toBe("ok");
  });
});
