import { chown, mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { EmbeddedPostgres } from "@nexus/devkit";
import { createPool } from "@nexus/postgres";
import type { TestAuthority } from "./test-certificates.ts";

/** Has a server speak TLS with a certificate for a host, from a moment later on; open connections stay as they are. */
export async function serveTls(
  server: EmbeddedPostgres,
  authority: TestAuthority,
  host: string,
): Promise<void> {
  const { cert, key } = await authority.issue({ host });
  const cluster = join(server.dataDir, "cluster");
  const place = join(cluster, `tls-${host}`);
  await mkdir(place, { recursive: true });
  // The server may run as somebody else than this process.
  const { uid, gid } = await stat(cluster);
  await chown(place, uid, gid);
  const write = async (name: string, content: Buffer) => {
    const path = join(place, name);
    await writeFile(path, content, { mode: 0o600 });
    await chown(path, uid, gid);
    return path;
  };
  const files = { cert: await write("tls.crt", cert), key: await write("tls.key", key) };
  const pool = createPool({ url: server.url, max: 1, applicationName: "test", schema: "public" });
  try {
    await pool.query(`ALTER SYSTEM SET ssl_cert_file = '${files.cert}'`);
    await pool.query(`ALTER SYSTEM SET ssl_key_file = '${files.key}'`);
    await pool.query("ALTER SYSTEM SET ssl = on");
    await pool.query("SELECT pg_reload_conf()");
  } finally {
    await pool.close();
  }
}

/** The connection string by which a client insists on the server's certificate, as docs/tls.md says. */
export function insistOnTls(url: string, caFile: string): string {
  const changed = new URL(url);
  changed.hostname = "localhost";
  changed.searchParams.set("sslmode", "verify-full");
  changed.searchParams.set("sslrootcert", caFile);
  return changed.href;
}
