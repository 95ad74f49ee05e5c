/** A server that speaks TLS, by the connection strings of docs/tls.md. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect, isDeepStrictEqual } from "node:util";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@nexus/devkit";
import { createPool } from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import {
  createTempFolder,
  createTestAuthority,
  insistOnTls,
  serveTls,
  type TempFolder,
  type TestAuthority,
  waitFor,
} from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const UNTRUSTED = "unavailable/DATABASE_UNTRUSTED";
const PROTECTED = { ssl: true, version: "TLSv1.3" };

let folder: TempFolder;
let server: EmbeddedPostgres;
let authority: TestAuthority;
let caFile: string;
let otherCaFile: string;

beforeAll(async () => {
  folder = await createTempFolder("nexus-pg-tls");
  server = await startEmbeddedPostgres({ dataDir: join(folder.path, "pg"), durable: false });
  authority = await createTestAuthority();
  const other = await createTestAuthority();
  caFile = join(folder.path, "ca.crt");
  otherCaFile = join(folder.path, "other.crt");
  await writeFile(caFile, authority.ca);
  await writeFile(otherCaFile, other.ca);
});

afterAll(async () => {
  await server.stop();
  await folder.remove();
});

function poolAt(url: string) {
  const name = { applicationName: "test", schema: "public" };
  return createPool({ url, max: 1, connectionTimeoutMs: 2_000, ...name });
}

/** Connects as docs/tls.md says, and says how the connection is protected, or why there is none. */
async function connect(ca: string): Promise<unknown> {
  const pool = poolAt(insistOnTls(server.url, ca));
  try {
    const { rows } = await pool.query(
      "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    );
    return rows[0];
  } catch (error) {
    const { kind, reason, message } = NexusError.from(error);
    return `${kind}/${reason} ${/\((\w+)\)/.exec(message)?.[1]}`;
  } finally {
    await pool.close();
  }
}

/** The server reads its certificate a moment after it is told to. */
async function untilIs(wanted: unknown): Promise<void> {
  let last: unknown;
  const isSo = async () => {
    last = await connect(caFile);
    return isDeepStrictEqual(last, wanted);
  };
  await waitFor(isSo, { what: `a connection to end as ${inspect(wanted)}` }).catch(() => undefined);
  expect(last).toEqual(wanted);
}

describe("a connection string with sslmode=verify-full", () => {
  it("takes no server without TLS, of another authority, or for another host", async () => {
    expect(await connect(caFile)).toBe(`${UNTRUSTED} TLS_NOT_SUPPORTED`);
    await serveTls(server, authority, "db.example.com");
    await untilIs(`${UNTRUSTED} ERR_TLS_CERT_ALTNAME_INVALID`);
    await serveTls(server, authority, "localhost");
    await untilIs(PROTECTED);
    expect(await connect(otherCaFile)).toMatch(
      new RegExp(`^${UNTRUSTED} (?:UNABLE_TO_VERIFY|SELF_SIGNED|UNABLE_TO_GET)`),
    );
  });
});
