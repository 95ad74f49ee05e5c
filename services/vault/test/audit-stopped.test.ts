/** A Postgres that stands still, one whose disk is full, and one that is not the right one: a server of this file's own, since others could not go on beside it. */
import { randomBytes } from "node:crypto";
import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@nexus/devkit";
import { createPool, type Pool, sqlStateOf } from "@nexus/postgres";
import { AuditResult } from "@nexus/proto/common";
import {
  createTempFolder,
  createTestAuthority,
  freePort,
  insistOnTls,
  serveTls,
  type TempFolder,
  waitFor,
} from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { entriesOf, exported, judge, sequenced } from "./_audit.ts";
import { callsOf, KEY_USES, outcomesOf, storedChanges, unavailable } from "./_audit-calls.ts";
import { createFleet, type Fleet, login, outcome, type Replica, type Session } from "./_helpers.ts";
import { CONTEXT, createKey, encrypt } from "./_transit.ts";

interface ReadinessBody {
  readonly ready: boolean;
  readonly checks: Readonly<Record<string, string>>;
}

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

describe("a Postgres that does not prove that it is the right one", () => {
  /** Ends the connections of the replicas that insist on TLS; what they do next needs new ones. */
  const cutProtected = () =>
    adminPool.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_ssl WHERE ssl AND pid <> pg_backend_pid()",
    );

  it(
    "is waited for at the start and answered for in a running vault, by name, until it does",
    async () => {
      const authority = await createTestAuthority();
      const caFile = join(folder.path, "ca.crt");
      writeFileSync(caFile, authority.ca);
      await serveTls(server, authority, "db.example.com");
      const opsPort = await freePort();
      const databaseUrl = insistOnTls(fleet.database.url, caFile);
      const starting = fleet.start({ databaseUrl, opsPort });
      const readiness = async () => {
        const response = await fetch(`http://127.0.0.1:${opsPort}/ready`).catch(() => undefined);
        const { ready, checks } = ((await response?.json()) ?? {}) as Partial<ReadinessBody>;
        return `${ready} ${checks?.["postgres"]}`;
      };
      const isRefused = async () => /^false .*ERR_TLS_CERT_ALTNAME_INVALID/.test(await readiness());
      await waitFor(isRefused, { what: "a start that says why it waits" });

      await serveTls(server, authority, "localhost");
      const secure = await starting;
      const { token } = await login(secure);
      const list = () => outcome(secure.principals.listPrincipals({}, { token }));
      expect([await list(), await readiness()]).toEqual(["ok", "true ok"]);

      await serveTls(server, authority, "db.example.com");
      const answers = new Set<string>();
      const isDistrusted = async () => {
        await cutProtected();
        const answer = await list();
        answers.add(answer);
        return answer === "unavailable/DATABASE_UNTRUSTED" && (await isRefused());
      };
      await waitFor(isDistrusted, { what: "the distrust" });
      // Old connections are lost on the way; nothing of it is a fault of vault's.
      for (const answer of answers) expect(answer).toMatch(/^(?:ok|unavailable\/.*)$/);

      await serveTls(server, authority, "localhost");
      const isWell = async () => (await list()) === "ok" && (await readiness()) === "true ok";
      await waitFor(isWell, { what: "trust again, without a restart" });
    },
    TEST_TIMEOUT_MS,
  );
});
