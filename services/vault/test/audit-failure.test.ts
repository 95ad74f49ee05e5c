/** A log that cannot be written: nothing is answered, nothing is changed, and nobody waits for ever. */
import { randomUUID } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { BACKLOG_MAX } from "@nexus/audit";
import { createPool, type Pool } from "@nexus/postgres";
import { AuditEntrySchema } from "@nexus/proto/common";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exported, judge, sequenced } from "./_audit.ts";
import {
  ANSWER_MAX_MS,
  callsOf,
  KEY_USES,
  outcomesOf,
  storedChanges,
  unavailable,
} from "./_audit-calls.ts";
import {
  createFleet,
  type Fleet,
  KEY,
  login,
  outcome,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";
import { CONTEXT, createKey, encrypt } from "./_transit.ts";

let fleet: Fleet;
let vault: Replica;
let admin: Session;
let pool: Pool;
let keyName: string;
let ciphertext: string;

beforeAll(async () => {
  fleet = await createFleet();
  vault = await fleet.start();
  admin = await login(vault);
  pool = createPool({ url: fleet.database.url, max: 3, applicationName: "test", schema: "vault" });
  keyName = (await createKey(vault, admin)).name;
  ciphertext = await encrypt(vault, admin, keyName);
});

afterAll(async () => {
  await pool.close();
  await fleet.close();
});

const calls = () => callsOf({ vault, admin, keyName, ciphertext });

describe("a full disk under the audit log", () => {
  it("makes every audited call UNAVAILABLE, changes nothing, and is over when there is room", async () => {
    await sequenced(pool);
    const before = await storedChanges(pool);
    await pool.query(`
      CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$`);
    await pool.query(`
      CREATE TRIGGER no_room BEFORE INSERT ON audit_outbox EXECUTE FUNCTION no_room()`);
    const names = Object.keys(calls());
    const expected = Object.fromEntries(names.map((name) => [name, unavailable()]));
    expect(await outcomesOf(calls())).toEqual(expected);
    expect(await storedChanges(pool)).toEqual(before);
    await pool.query("DROP TRIGGER no_room ON audit_outbox");
    expect(
      await outcome(vault.transit.decrypt({ keyName, ciphertext, context: CONTEXT }, admin)),
    ).toBe("ok");
    await sequenced(pool);
    expect(judge(await exported(vault, admin)).problem).toBeUndefined();
  });
});

describe("an audit log that hangs", () => {
  it("makes a call that reads UNAVAILABLE within its deadline, and one that changes end at its own", async () => {
    await sequenced(pool);
    const client = await pool.connect();
    await client.query("BEGIN");
    await client.query("LOCK TABLE audit_outbox IN ACCESS EXCLUSIVE MODE");
    const startedAt = performance.now();
    const results = await Promise.all(
      KEY_USES.map((name) => outcome(calls()[name]?.() ?? Promise.resolve())),
    );
    expect(new Set(results)).toEqual(new Set(["unavailable/AUDIT_UNAVAILABLE"]));
    expect(performance.now() - startedAt).toBeLessThan(ANSWER_MAX_MS);
    const brief = { ...admin, timeoutMs: 500 };
    const change = vault.keys.rotateKey({ requestId: requestId(), name: keyName }, brief);
    expect(await outcome(change)).toBe("deadline/DEADLINE_EXCEEDED");
    await client.query("ROLLBACK");
    client.release();
    expect(
      await outcome(vault.transit.decrypt({ keyName, ciphertext, context: CONTEXT }, admin)),
    ).toBe("ok");
  });
});

describe("an audit log that stands still for too long", () => {
  it("makes audited calls UNAVAILABLE, but not the one that unseals, and is over with it", async () => {
    await vault.seal.seal({}, admin);
    const entry = create(AuditEntrySchema, { service: "vault", action: "told" });
    const insert = () => {
      const draft = toBinary(AuditEntrySchema, { ...entry, entryId: randomUUID() });
      return pool.query("INSERT INTO audit_outbox (draft) VALUES ($1)", [Buffer.from(draft)]);
    };
    await insert();
    const { rows } = await pool.query<{ last: string }>(
      "SELECT max(entry_no) AS last FROM audit_outbox",
    );
    const next = Number(rows[0]?.last) + BACKLOG_MAX;
    await pool.query(`ALTER TABLE audit_outbox ALTER COLUMN entry_no RESTART WITH ${next}`);
    await insert();
    const change = () => outcome(calls()["createPrincipal"]?.() ?? Promise.resolve());
    await waitFor(async () => (await change()) === "unavailable/AUDIT_UNAVAILABLE", {
      what: "the outbox to be seen to be full",
    });
    expect(await outcome(login(vault))).toBe("precondition/VAULT_SEALED");
    await vault.seal.unseal({ rootKey: Buffer.from(KEY, "base64") });
    await sequenced(pool);
    await waitFor(async () => (await change()) !== "unavailable/AUDIT_UNAVAILABLE", {
      what: "the outbox to be seen to have room",
    });
  });
});
