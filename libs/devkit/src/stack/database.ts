/** The stack's database: one embedded server, one database, a role and a schema per service, kept running. */
import { join } from "node:path";
import { createPool, provisionDatabase } from "@nexus/postgres";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../postgres/embedded-postgres.ts";
import { DATABASE, databaseRole } from "./environment.ts";
import { KeptServer } from "./kept-server.ts";
import type { StackSecrets } from "./secrets.ts";
import { servicesWithStore } from "./services.ts";

const FOLDER = "pg";

/** What to start. */
export interface StackDatabaseOptions {
  readonly dataDir: string;
  readonly port: number;
  readonly durable: boolean;
  readonly secrets: StackSecrets;
  readonly onNotice: (notice: string) => void;
  /** Called when it runs again after it ended by itself. */
  readonly onRestarted: () => void;
}

/** A server under supervision. */
export interface StackDatabase {
  readonly pid: number;
  /** Connection string of the superuser, database `postgres`. */
  readonly url: string;
  readonly kept: KeptServer;
}

/** Starts the server and prepares it for the services. A server that ends by itself is started again. */
export async function startStackDatabase(options: StackDatabaseOptions): Promise<StackDatabase> {
  const { onNotice, onRestarted } = options;
  const logFile = `${FOLDER}/postgres.log`;
  const kept = new KeptServer({ name: "postgres", logFile, onNotice, onRestarted });
  const server: EmbeddedPostgres = await startEmbeddedPostgres({
    dataDir: join(options.dataDir, FOLDER),
    port: options.port,
    durable: options.durable,
    onNotice,
    onUnexpectedExit: () => kept.ended(),
  });
  try {
    await prepare(server.url, options.secrets);
  } catch (error) {
    await server.stop();
    throw error;
  }
  kept.keep(server);
  return {
    get pid() {
      return server.pid;
    },
    url: server.url,
    kept,
  };
}

async function prepare(adminUrl: string, secrets: StackSecrets): Promise<void> {
  const admin = createPool({
    url: adminUrl,
    max: 1,
    applicationName: "nexus-devkit",
    schema: "public",
  });
  try {
    const existing = await admin.query("SELECT 1 FROM pg_database WHERE datname = $1", [DATABASE]);
    if (existing.rowCount === 0) await admin.query(`CREATE DATABASE ${DATABASE}`);
  } finally {
    await admin.close();
  }
  const url = new URL(adminUrl);
  url.pathname = `/${DATABASE}`;
  await provisionDatabase(
    url.href,
    servicesWithStore().map(({ name, schema }) => ({
      role: databaseRole(schema),
      password: secrets.databasePasswords[name] ?? "",
      schema,
    })),
  );
}
