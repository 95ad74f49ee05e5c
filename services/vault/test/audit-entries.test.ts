/** What a call leaves in the audit log, and what of it nobody may read there. */
import { createHash, randomBytes } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ACTION, entriesOf, fieldsOf, sequenced } from "./_audit.ts";
import {
  createUser,
  grant,
  login,
  outcome,
  REGISTRY_SECRET,
  requestId,
  type Session,
} from "./_helpers.ts";
import { openSuite, type Suite } from "./_suite.ts";
import { CONTEXT, createKey, encrypt } from "./_transit.ts";

let { vault, admin, pool, close } = {} as Suite;

beforeAll(async () => {
  ({ vault, admin, pool, close } = await openSuite());
});

afterAll(() => close());

const KEY_SERVICE = (method: string) => ACTION("KeyService", method);
const TRANSIT = (method: string) => ACTION("TransitService", method);

describe("a call", () => {
  it("that changes something leaves who, what, on what and when", async () => {
    const id = requestId();
    await vault.keys.createKey({ requestId: id, name: "audited", deletionAllowed: true }, admin);
    await sequenced(pool);
    const [entry] = await entriesOf(vault, admin, { action: KEY_SERVICE("CreateKey") });
    expect(entry).toMatchObject({
      service: "vault",
      result: AuditResult.ALLOWED,
      reason: "",
      namespace: "default",
      actor: "admin",
      actorKind: "user",
      resource: "audited",
      requestId: id,
    });
    expect(fieldsOf(entry)).toEqual({ deletion_allowed: "true" });
    expect(entry?.traceId).toMatch(/^[0-9a-f]{32}$/);
    const { rows } = await pool.query<{ ms: number }>(
      "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms",
    );
    const ageMs = Number(rows[0]?.ms) - Number(entry?.time?.seconds) * 1000;
    expect(ageMs).toBeGreaterThanOrEqual(0);
    expect(ageMs).toBeLessThan(60_000);
  });

  it("that is repeated leaves an entry each time and changes once", async () => {
    const request = { requestId: requestId(), name: "audited" };
    await vault.keys.rotateKey(request, admin);
    await vault.keys.rotateKey(request, admin);
    await sequenced(pool);
    const entries = await entriesOf(vault, admin, { action: "RotateKey", resource: "audited" });
    expect(entries.map(({ requestId }) => requestId)).toEqual([
      request.requestId,
      request.requestId,
    ]);
  });

  it("that uses a key leaves the context and the version, and nothing of what was encrypted", async () => {
    const { name } = await createKey(vault, admin);
    const ciphertext = await encrypt(vault, admin, name, "a very secret text");
    await vault.transit.decrypt({ keyName: name, ciphertext, context: CONTEXT }, admin);
    const items = [1, 2, 3].map(() => ({ plaintext: Buffer.from("text"), context: CONTEXT }));
    await vault.transit.encryptBatch({ keyName: name, items }, admin);
    await sequenced(pool);
    const [single] = await entriesOf(vault, admin, { action: TRANSIT("Encrypt"), resource: name });
    expect(fieldsOf(single)).toEqual({
      plaintext: "[redacted]",
      "context.resource_type": "order",
      "context.resource_id": "7",
      "answer.key_version": "1",
    });
    const [opened] = await entriesOf(vault, admin, { action: TRANSIT("Decrypt"), resource: name });
    expect(fieldsOf(opened)["ciphertext"]).toMatch(/^hmac:[0-9a-f]{32}$/);
    const batches = await entriesOf(vault, admin, {
      action: TRANSIT("EncryptBatch"),
      resource: name,
    });
    expect(batches.map(fieldsOf)).toEqual([{ items: "[3]", key_versions: "1" }]);
  });

  it("that signs in leaves whom the proof proved, and one that fails no text of the caller's", async () => {
    const user = await createUser(vault, admin, { principalId: "signs-in" });
    await vault.auth.refreshToken({ refreshToken: user.refreshToken });
    expect(await outcome(login(vault, "hunter2-typed-as-name", "wrong"))).toBe(
      "unauthenticated/CREDENTIALS_INVALID",
    );
    await sequenced(pool);
    const [signedIn] = await entriesOf(vault, admin, { actor: "signs-in", action: "Login" });
    expect(signedIn).toMatchObject({ result: AuditResult.ALLOWED, actorKind: "user" });
    const [refreshed] = await entriesOf(vault, admin, {
      actor: "signs-in",
      action: "RefreshToken",
    });
    expect(refreshed).toMatchObject({ result: AuditResult.ALLOWED, namespace: "default" });
    const [refused] = await entriesOf(vault, admin, {
      result: AuditResult.DENIED,
      action: "Login",
    });
    expect(refused).toMatchObject({
      actor: "",
      actorKind: "anonymous",
      reason: "CREDENTIALS_INVALID",
    });
    expect(refused?.resource).toMatch(/^hmac:/);
    const found = await entriesOf(vault, admin, { resource: "hunter2-typed-as-name" });
    expect(found.map(({ entryId }) => entryId)).toEqual([refused?.entryId]);
    // A name that is a principal's is named: its id is no secret to who reads the log of its namespace.
    expect(await outcome(login(vault, " Signs-In", "wrong"))).toBe(
      "unauthenticated/CREDENTIALS_INVALID",
    );
    expect(await outcome(grant(vault, "signs-in", "nxs_wrong"))).toBe(
      "unauthenticated/CREDENTIALS_INVALID",
    );
    await sequenced(pool);
    const denied = { result: AuditResult.DENIED, resource: "signs-in" };
    const known = await entriesOf(vault, admin, denied);
    expect(known.map(({ actor, action }) => [actor, action.split("/")[1]])).toEqual([
      ["", "GrantClientToken"],
      ["", "Login"],
    ]);
  });

  it("that is refused leaves the reason", async () => {
    const user = await createUser(vault, admin, { scopes: ["vault:key:read"] });
    const create = { requestId: requestId(), name: "not-allowed" };
    expect(await outcome(vault.keys.createKey(create, user))).toBe("forbidden/SCOPE_MISSING");
    const missing = vault.keys.rotateKey({ requestId: requestId(), name: "no-such-key" }, admin);
    expect(await outcome(missing)).toBe("not_found/KEY_NOT_FOUND");
    await sequenced(pool);
    const [denied] = await entriesOf(vault, admin, {
      actor: user.principalId,
      action: "CreateKey",
    });
    expect(denied).toMatchObject({
      result: AuditResult.DENIED,
      reason: "SCOPE_MISSING",
      resource: "",
    });
    const [failed] = await entriesOf(vault, admin, {
      result: AuditResult.FAILED,
      action: "RotateKey",
    });
    expect(failed).toMatchObject({ reason: "KEY_NOT_FOUND", actor: "admin" });
  });

  it("of a stream leaves its entry before the first byte of the answer", async () => {
    const { name } = await createKey(vault, admin);
    const start = { frame: { case: "start", value: { keyName: name, context: CONTEXT } } } as const;
    async function* requests() {
      yield start;
      // The stream stays open: what follows is seen while it runs.
      await new Promise((resolve) => setTimeout(resolve, 60_000).unref());
    }
    const options = { ...admin, signal: AbortSignal.timeout(20_000) };
    const answers = vault.transit.encryptStream(requests(), options)[Symbol.asyncIterator]();
    await answers.next();
    await sequenced(pool);
    const entries = await entriesOf(vault, admin, { action: "EncryptStream", resource: "" });
    expect(entries.map(({ result }) => result)).toEqual([AuditResult.ALLOWED]);
    expect(fieldsOf(entries[0])["start.context.resource_id"]).toBe("7");
    await answers.return?.();
  });

  it("of nobody, again and again, is one entry at once and one count", async () => {
    const calls = Array.from({ length: 50 }, () =>
      outcome(vault.keys.createKey({ requestId: "x", name: "flood" }, { token: "no token" })),
    );
    expect(new Set(await Promise.all(calls)).size).toBe(1);
    const counts = async () => {
      await sequenced(pool);
      const entries = await entriesOf(vault, admin, {
        action: "CreateKey",
        result: AuditResult.DENIED,
      });
      return entries.filter(({ actor }) => actor === "").map(({ count }) => count);
    };
    await expect
      .poll(async () => (await counts()).reduce((sum, n) => sum + (n || 1), 0), {
        timeout: 10_000,
      })
      .toBe(50);
    expect((await counts()).length).toBeLessThanOrEqual(4);
  });
});

describe("ListEntries", () => {
  it("shows a tenant its own entries, page by page, and the operators' namespace all", async () => {
    await createUser(vault, admin, {
      principalId: "auditor",
      namespace: "other",
      scopes: ["vault:audit:read", "vault:key:create"],
    });
    const auditor = await login(vault, "auditor", "a password of a user", "other");
    await vault.keys.createKey({ requestId: requestId(), name: "theirs" }, auditor);
    await sequenced(pool);
    const own = await entriesOf(vault, auditor);
    expect(new Set(own.map(({ namespace }) => namespace))).toEqual(new Set(["other"]));
    expect(own.some(({ resource }) => resource === "theirs")).toBe(true);
    const all = await entriesOf(vault, admin);
    expect(all.length).toBeGreaterThan(own.length);
    expect(await outcome(readAll(auditor))).toBe("forbidden/NAMESPACE_FORBIDDEN");
    let pageToken = "";
    const indexes: bigint[] = [];
    do {
      const page = await vault.audit.listEntries({ page: { pageSize: 3, pageToken } }, admin);
      indexes.push(...page.entries.map(({ index }) => index));
      pageToken = page.page?.nextPageToken ?? "";
    } while (pageToken !== "" && indexes.length < 12);
    expect(indexes).toEqual([...indexes].sort((a, b) => Number(b - a)));
    expect(new Set(indexes).size).toBe(indexes.length);
  });

  async function readAll(caller: Session): Promise<void> {
    for await (const _ of vault.audit.exportEntries({}, caller));
  }

  it("needs the scope, as do the others, and a service none of a tenant's", async () => {
    const user = await createUser(vault, admin);
    const calls = [
      vault.audit.listEntries({}, user),
      vault.audit.getCheckpoint({}, user),
      vault.audit.getInclusionProof({}, user),
      vault.audit.getConsistencyProof({}, user),
      vault.audit.watchEntries({}, user)[Symbol.asyncIterator]().next(),
      vault.audit.exportEntries({}, user)[Symbol.asyncIterator]().next(),
    ];
    const outcomes = await Promise.all(calls.map((call) => outcome(call)));
    expect(new Set(outcomes)).toEqual(new Set(["forbidden/SCOPE_MISSING"]));
    const entries = [{ position: 1n, draft: Buffer.of(1), timeUs: 1n }];
    expect(await outcome(vault.intake.appendEntries({ stream: "s", entries }, admin))).toBe(
      "forbidden/SERVICE_ONLY",
    );
  });
});

function encodeDraft(init: MessageInitShape<typeof AuditEntrySchema>): Uint8Array {
  return toBinary(AuditEntrySchema, create(AuditEntrySchema, init));
}

describe("AppendEntries", () => {
  it("takes each entry once, in order, and only what a service says of itself", async () => {
    const registry = await grant(vault, "registry", REGISTRY_SECRET, "nexus-system");
    const told = (position: bigint, service = "registry", resource = String(position)) => ({
      position,
      timeUs: 1_700_000_000_000_000n,
      draft: encodeDraft({ service, action: "told", resource }),
    });
    const append = (...entries: ReturnType<typeof told>[]) =>
      vault.intake.appendEntries({ stream: "s", entries }, registry);
    expect((await append(told(1n), told(2n))).position).toBe(2n);
    expect((await append(told(1n), told(2n), told(5n))).position).toBe(5n);
    expect((await append(told(2n))).position).toBe(5n);
    expect((await append(told(2n), told(5n))).position).toBe(5n);
    // An outbox that is an older copy of itself gave the positions to other entries: nothing of it passes as taken.
    const other = (position: bigint) => told(position, "registry", "another");
    expect((await append(other(4n), other(5n), other(6n))).position).toBe(7n);
    expect((await append(other(4n), other(6n))).position).toBe(7n);
    expect((await append(other(5n))).position).toBe(6n);
    expect(await outcome(append(told(7n), told(6n)))).toBe("invalid/AUDIT_ENTRY_INVALID");
    await sequenced(pool);
    const entries = await entriesOf(vault, admin, { action: "told" });
    expect(entries.map(({ resource }) => resource)).toEqual(["5", "2", "1"]);
    expect(entries[0]?.time?.seconds).toBe(1_700_000_000n);
  });

  it("takes a notice for what a service may not say, and everything behind it", async () => {
    const registry = await grant(vault, "registry", REGISTRY_SECRET, "nexus-system");
    const forged = encodeDraft({ service: "vault", action: "forged", actor: "admin" });
    const drafts = [
      encodeDraft({ service: "registry", action: "kept", resource: "first" }),
      forged,
      Buffer.from("no entry"),
      Buffer.of(),
      encodeDraft({ service: "registry", action: "kept", resource: "x".repeat(40_000) }),
      encodeDraft({ service: "registry", action: "kept", resource: "last" }),
    ];
    const entries = drafts.map((draft, index) => ({
      position: BigInt(index + 1),
      draft,
      timeUs: 1_700_000_000_000_000n,
    }));
    const append = () => vault.intake.appendEntries({ stream: "bad", entries }, registry);
    const answers = await Promise.all([append(), append()]);
    expect(answers.map(({ position }) => position)).toEqual([6n, 6n]);
    await sequenced(pool);
    const kept = await entriesOf(vault, admin, { action: "kept" });
    expect(kept.map(({ resource }) => resource)).toEqual(["last", "first"]);
    expect(await entriesOf(vault, admin, { action: "forged" })).toEqual([]);
    const notices = await entriesOf(vault, admin, { action: "vault:quarantined-entry" });
    expect(notices.map(({ resource }) => resource)).toEqual(
      ["5", "4", "3", "2"].map((position) => `registry/bad/${position}`),
    );
    expect(notices.map((notice) => fieldsOf(notice)["problem"])).toEqual([
      "too large",
      "unreadable",
      "unreadable",
      "of another service",
    ]);
    expect(notices.at(-1)).toMatchObject({ service: "vault", actor: "registry" });
    expect(fieldsOf(notices.at(-1))).toMatchObject({
      sha256: createHash("sha256").update(forged).digest("hex"),
      claimed_action: "forged",
      claimed_actor: "admin",
    });
    const { rows } = await pool.query<{ draft: Buffer }>(
      "SELECT draft FROM audit_quarantine WHERE stream = 'bad' ORDER BY position",
    );
    expect(rows[0]?.draft).toEqual(Buffer.from(forged));
    expect(rows.length).toBe(4);
    const metrics = await (await fetch(`http://${vault.service.opsAddress}/metrics`)).text();
    expect(metrics).toMatch(/audit_entries_quarantined_total{.*service="registry".*} 4/);
  });

  it("keeps the log going over texts that no index takes, and times that no clock shows", async () => {
    const registry = await grant(vault, "registry", REGISTRY_SECRET, "nexus-system");
    const actor = randomBytes(10_000).toString("base64url");
    const entries = [
      {
        position: 1n,
        draft: encodeDraft({ service: "registry", action: "long", actor }),
        timeUs: 1n,
      },
      {
        position: 2n,
        draft: encodeDraft({ service: "registry", action: "long" }),
        timeUs: 2n ** 63n - 1n,
      },
    ];
    await vault.intake.appendEntries({ stream: "odd", entries }, registry);
    await sequenced(pool);
    const found = await entriesOf(vault, admin, { action: "long" });
    expect(found.map((entry) => entry.actor)).toEqual([actor]);
    const [notice] = await entriesOf(vault, admin, { resource: "registry/odd/2" });
    expect(fieldsOf(notice)["problem"]).toBe("of no time");
  });
});
