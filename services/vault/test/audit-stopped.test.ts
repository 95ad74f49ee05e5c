/** A Postgres that stands still, and one whose disk is full: a server of this file's own, since others could not go on beside it. */
import { randomBytes } from "node:crypto";
import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@nexus/devkit";
import { createPool, type Pool, sqlStateOf } from "@nexus/postgres";
import { AuditResult } from "@nexus/proto/common";
import { createTempFolder, type TempFolder, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { entriesOf, exported, judge, sequenced } from "./_audit.ts";
import { callsOf, KEY_USES, outcomesOf, storedChanges, unavailable } from "./_audit-calls.ts";
import { createFleet, type Fleet, login, outcome, type Replica, type Session } from "./_helpers.ts";
import { CONTEXT, createKey, encrypt } from "./_transit.ts";

const TEST_TIMEOUT_MS = 120_000;
/** Callers that decrypt one call after the other until one fails. */
const CALLERS = 8;

let folder: TempFolder;
let server: EmbeddedPostgres;
let fleet: Fleet;
let vault: Replica;
let admin: Session;
let pool: Pool;
let adminPool: Pool;
let keyName: string;
let ciphertext: string;

beforeAll(async () => {
  folder = await createTempFolder("nexus-vault");
  server = await startEmbeddedPostgres({
    dataDir: join(folder.path, "pg"),
    durable: false,
    removeWhenDone: true,
  });
  fleet = await createFleet({
    server: { adminUrl: server.url, runId: randomBytes(4).toString("hex") },
  });
  vault = await fleet.start();
  admin = await login(vault);
  const { url, adminUrl } = fleet.database;
  pool = createPool({ url, max: 3, applicationName: "test", schema: "vault" });
  adminPool = createPool({ url: adminUrl, max: 1, applicationName: "test", schema: "vault" });
  keyName = (await createKey(vault, admin)).name;
  ciphertext = await encrypt(vault, admin, keyName);
});

afterAll(async () => {
  server.resume();
  await pool.close();
  await adminPool.close();
  await fleet.close();
  await server.stop();
  await folder.remove();
});

const calls = () => callsOf({ vault, admin, keyName, ciphertext });
const decrypt = () =>
  outcome(vault.transit.decrypt({ keyName, ciphertext, context: CONTEXT }, admin));

async function decryptUntilRefused(answered: string[]): Promise<string> {
  for (;;) {
    const answer = await decrypt();
    if (answer !== "ok") return answer;
    answered.push(answer);
  }
}

async function decryptions(): Promise<number> {
  const entries = await entriesOf(vault, admin, { action: "Decrypt", result: AuditResult.ALLOWED });
  return entries.length;
}

describe("a Postgres that stands still", () => {
  it(
    "lets nothing out that is not entered, is answered for in time, and goes on where it stood",
    async () => {
      await sequenced(pool);
      const before = await decryptions();
      const answered: string[] = [];
      const underWay = Array.from({ length: CALLERS }, () => decryptUntilRefused(answered));
      await waitFor(() => answered.length > CALLERS, { what: "every caller to be under way" });
      server.pause();
      const expected = Object.fromEntries(
        Object.keys(calls()).map((name) => [
          name,
          KEY_USES.includes(name)
            ? "unavailable/AUDIT_UNAVAILABLE"
            : expect.stringMatching(/^(unavailable|deadline)\/[A-Z_]+$/),
        ]),
      );
      expect(await outcomesOf(calls())).toEqual(expected);
      const ends = await Promise.all(underWay);
      expect(new Set(ends)).toEqual(new Set(["unavailable/AUDIT_UNAVAILABLE"]));
      server.resume();
      await waitFor(async () => (await decrypt()) === "ok", { what: "vault to decrypt again" });
      await sequenced(pool);
      expect(await decryptions()).toBeGreaterThan(before + answered.length);
      expect(judge(await exported(vault, admin)).problem).toBeUndefined();
      const created = await entriesOf(vault, admin, {
        action: "CreateKey",
        resource: "never",
        result: AuditResult.ALLOWED,
      });
      const stored = await pool.query("SELECT FROM named_keys WHERE name = 'never'");
      expect(created.length).toBe(stored.rowCount);
    },
    TEST_TIMEOUT_MS,
  );
});

/** Puts the outbox into another file, which `place` makes of the path of an empty one. */
async function moveOutbox(place: (file: string) => void): Promise<void> {
  const client = await adminPool.connect();
  try {
    // Nobody has the new file open before the commit.
    await client.query("BEGIN");
    await client.query("TRUNCATE vault.audit_outbox");
    const { rows } = await client.query<{ path: string }>(
      "SELECT current_setting('data_directory') || '/' || pg_relation_filepath('vault.audit_outbox') AS path",
    );
    place(rows[0]?.path ?? "");
    await client.query("COMMIT");
  } finally {
    client.release();
  }
}

describe("a disk that is full, as the kernel says it", () => {
  it(
    "makes every audited call UNAVAILABLE, changes nothing, and is over when there is room",
    async () => {
      await sequenced(pool);
      let full = "";
      await moveOutbox((file) => {
        full = file;
        rmSync(file);
        symlinkSync("/dev/full", file);
      });
      const insert = pool.query("INSERT INTO audit_outbox (draft) VALUES ('')");
      const error = await insert.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(sqlStateOf((error as Error).cause)).toBe("53100");
      const before = await storedChanges(pool);
      // One after the other: several at once would have the file made longer by more than a page, which a device cannot.
      const answers: string[] = [];
      for (const call of Object.values(calls())) answers.push(await outcome(call()));
      expect(answers).toEqual(answers.map(() => unavailable()));
      expect(await storedChanges(pool)).toEqual(before);
      await moveOutbox(() => {
        rmSync(full);
        writeFileSync(full, "");
      });
      expect(await decrypt()).toBe("ok");
      await sequenced(pool);
      expect(judge(await exported(vault, admin)).problem).toBeUndefined();
    },
    TEST_TIMEOUT_MS,
  );
});
