/** A server that speaks TLS, by the connection strings of docs/tls.md. */
import { chown, mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect, isDeepStrictEqual } from "node:util";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@nexus/devkit";
import { createPool } from "@nexus/postgres";
import {
  createTempFolder,
  createTestAuthority,
  type TempFolder,
  type TestAuthority,
  waitFor,
} from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

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

/** Gives the server a certificate for a host, from now on. */
async function serveAs(host: string): Promise<void> {
  const { cert, key } = await authority.issue({ host });
  const place = join(folder.path, host);
  await mkdir(place);
  const { uid, gid } = await stat(join(server.dataDir, "cluster"));
  const write = async (name: string, content: Buffer) => {
    await writeFile(join(place, name), content, { mode: 0o600 });
    // The server may run as somebody else than this test.
    await chown(join(place, name), uid, gid);
    return join(place, name);
  };
  const files = { cert: await write("tls.crt", cert), key: await write("tls.key", key) };
  const pool = poolAt(server.url);
  await pool.query(`ALTER SYSTEM SET ssl_cert_file = '${files.cert}'`);
  await pool.query(`ALTER SYSTEM SET ssl_key_file = '${files.key}'`);
  await pool.query("ALTER SYSTEM SET ssl = on");
  await pool.query("SELECT pg_reload_conf()");
  await pool.close();
}

function poolAt(url: string) {
  const name = { applicationName: "test", schema: "public" };
  return createPool({ url, max: 1, connectionTimeoutMs: 2_000, ...name });
}

/** Connects as docs/tls.md says, and says how the connection is protected, or why there is none. */
async function connect(ca: string): Promise<unknown> {
  const url = new URL(server.url);
  url.hostname = "localhost";
  url.searchParams.set("sslmode", "verify-full");
  url.searchParams.set("sslrootcert", ca);
  const pool = poolAt(url.href);
  try {
    const { rows } = await pool.query(
      "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    );
    return rows[0];
  } catch (error) {
    const { code, message } = (error as { cause: { code?: string; message: string } }).cause;
    return code ?? message;
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
    expect(await connect(caFile)).toBe("The server does not support SSL connections");
    await serveAs("db.example.com");
    await untilIs("ERR_TLS_CERT_ALTNAME_INVALID");
    await serveAs("localhost");
    await untilIs(PROTECTED);
    expect(await connect(otherCaFile)).toMatch(/^(?:UNABLE_TO_VERIFY|SELF_SIGNED|UNABLE_TO_GET)/);
  });
});
