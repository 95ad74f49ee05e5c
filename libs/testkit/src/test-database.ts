/** A database of its own for each test file, cloned from a template that is migrated once per run. */
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createPool, migrate, provisionDatabase, sqlStateOf } from "@nexus/postgres";
import { Client } from "pg";
import { currentTestServer, type TestServer } from "./database-server.ts";

/** Services that have a schema. */
export type StoreService = "registry" | "orchestrator" | "mesh-router" | "vault" | "insight";

const SCHEMAS: Readonly<Record<StoreService, string>> = {
  registry: "registry",
  orchestrator: "orchestrator",
  "mesh-router": "mesh",
  vault: "vault",
  insight: "insight",
};

const OBJECT_IN_USE = "55006";
const CLONE_ATTEMPTS_MAX = 50;
const CLONE_RETRY_MS = 20;
/** First key of the advisory lock around the making of templates: "NXTT". */
const TEMPLATE_LOCK_CLASS = 0x4e585454;

/** How a test database is made. */
export interface TestDatabaseOptions {
  /** Leaves the schema empty, for tests of the migrations themselves. @default true */
  readonly migrated?: boolean;
  /** @default services/<service>/migrations */
  readonly migrationsDirectory?: string;
  /** @default the one that all files of the run share */
  readonly server?: TestServer;
}

/** A database that belongs to the caller. */
export interface TestDatabase {
  /** Connects as the service's own role, which can use its schema and nothing else. */
  readonly url: string;
  /** Connects as a superuser, to look at or break things from outside. */
  readonly adminUrl: string;
  /** The service's schema, which the pool wants for its search_path. */
  readonly schema: string;
  /** Drops the database, also under open connections. Safe to call twice. */
  close(): Promise<void>;
}

/** Creates a database with the service's schema, role and migrations.
 *
 * Cost: about 30 ms; the first one of a service in a run also migrates the template. */
export async function createTestDatabase(
  service: StoreService,
  options: TestDatabaseOptions = {},
): Promise<TestDatabase> {
  const server = options.server ?? currentTestServer();
  const migrated = options.migrated ?? true;
  const directory = migrated ? migrationsDirectory(service, options) : undefined;
  const role = roleOf(server, service);
  const template = await ensureTemplate(server, { service, role, directory });
  return clone(server, template, {
    role: role.name,
    password: role.password,
    schema: SCHEMAS[service],
  });
}

/** Creates an empty database, for tests of libraries. Both its URLs are the superuser's. */
export async function createEmptyTestDatabase(): Promise<TestDatabase> {
  const { username, password } = new URL(currentTestServer().adminUrl);
  const admin = { role: username, password: decodeURIComponent(password), schema: "public" };
  return clone(currentTestServer(), "template0", admin);
}

/** Drops what this run made on a server that stays. */
export async function dropTestDatabases(server: TestServer): Promise<void> {
  await withAdmin(server.adminUrl, async (client) => {
    const databases = await client.query<{ name: string }>(
      "SELECT datname AS name FROM pg_database WHERE starts_with(datname, $1)",
      [prefixOf(server)],
    );
    for (const { name } of databases.rows) await dropDatabase(client, name);
    const roles = await client.query<{ name: string }>(
      "SELECT rolname AS name FROM pg_roles WHERE starts_with(rolname, $1)",
      [prefixOf(server)],
    );
    for (const { name } of roles.rows) await client.query(`DROP ROLE ${name}`);
  });
}

function prefixOf(server: TestServer): string {
  return `nexus_test_${server.runId}_`;
}

interface TestRole {
  readonly name: string;
  readonly password: string;
}

/** Every worker derives the same password, so none has to be told. It guards a server on loopback for one run. */
function roleOf(server: TestServer, service: StoreService): TestRole {
  const name = prefixOf(server) + SCHEMAS[service];
  const password = createHash("sha256").update(`${server.adminUrl} ${name}`).digest("hex");
  return { name, password };
}

function migrationsDirectory(service: StoreService, options: TestDatabaseOptions): string {
  const standard = new URL(`../../../services/${service}/migrations/`, import.meta.url);
  const directory = options.migrationsDirectory ?? fileURLToPath(standard);
  if (!existsSync(directory)) throw new Error(`no migrations in ${directory}`);
  return directory;
}

interface TemplateSpec {
  readonly service: StoreService;
  readonly role: TestRole;
  readonly directory: string | undefined;
}

/** Templates that this process knows to be there, or to be made. */
const templates = new Map<string, Promise<void>>();

/** Makes the template once per run: the first worker does it under a lock, the others wait for it, and none looks again. */
async function ensureTemplate(server: TestServer, spec: TemplateSpec): Promise<string> {
  const variant = createHash("sha256")
    .update(spec.directory ?? "")
    .digest("hex")
    .slice(0, 8);
  const template = `${prefixOf(server)}template_${SCHEMAS[spec.service]}_${variant}`;
  const key = `${server.adminUrl} ${template}`;
  const made = templates.get(key) ?? makeTemplate(server, template, spec);
  templates.set(key, made);
  try {
    await made;
  } catch (error) {
    templates.delete(key);
    throw error;
  }
  return template;
}

async function makeTemplate(
  server: TestServer,
  template: string,
  spec: TemplateSpec,
): Promise<void> {
  await withAdmin(server.adminUrl, async (client) => {
    if (await databaseExists(client, template)) return;
    await client.query("SELECT pg_advisory_lock($1, hashtext($2))", [
      TEMPLATE_LOCK_CLASS,
      template,
    ]);
    if (await databaseExists(client, template)) return;
    // Renamed when complete: a failed migration leaves no template that later tests would take for good.
    const draft = `${prefixOf(server)}draft_${randomBytes(6).toString("hex")}`;
    await client.query(`CREATE DATABASE ${draft} TEMPLATE template0`);
    try {
      await fillTemplate(withDatabase(server.adminUrl, draft), spec);
      await retryWhileInUse(() => client.query(`ALTER DATABASE ${draft} RENAME TO ${template}`));
    } catch (error) {
      await dropDatabase(client, draft);
      throw error;
    }
  });
}

async function fillTemplate(adminUrl: string, spec: TemplateSpec): Promise<void> {
  const schema = SCHEMAS[spec.service];
  const { name, password } = spec.role;
  await provisionDatabase(adminUrl, [{ role: name, password, schema }]);
  if (spec.directory === undefined) return;
  const pool = createPool({
    url: withRole(adminUrl, name, password),
    max: 1,
    applicationName: "nexus-testkit",
    schema,
  });
  try {
    await migrate(pool, { schema, directory: spec.directory });
  } finally {
    await pool.close();
  }
}

async function clone(
  server: TestServer,
  template: string,
  owner: { readonly role: string; readonly password: string; readonly schema: string },
): Promise<TestDatabase> {
  const name = `${prefixOf(server)}db_${randomBytes(6).toString("hex")}`;
  await withAdmin(server.adminUrl, (client) =>
    retryWhileInUse(() =>
      client.query(`CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY FILE_COPY`),
    ),
  );
  const adminUrl = withDatabase(server.adminUrl, name);
  let closing: Promise<void> | undefined;
  return {
    url: withRole(adminUrl, owner.role, owner.password),
    adminUrl,
    schema: owner.schema,
    close: () => {
      closing ??= withAdmin(server.adminUrl, (client) => dropDatabase(client, name));
      return closing;
    },
  };
}

async function databaseExists(client: Client, name: string): Promise<boolean> {
  const { rowCount } = await client.query("SELECT 1 FROM pg_database WHERE datname = $1", [name]);
  return rowCount === 1;
}

async function dropDatabase(client: Client, name: string): Promise<void> {
  await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
}

/** A session that has just ended may still count for a moment, and so may an autovacuum worker. */
async function retryWhileInUse(step: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await step();
      return;
    } catch (error) {
      if (attempt >= CLONE_ATTEMPTS_MAX || sqlStateOf(error) !== OBJECT_IN_USE) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, CLONE_RETRY_MS));
  }
}

async function withAdmin<T>(url: string, fn: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, application_name: "nexus-testkit" });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await fn(client);
  } finally {
    await client.end();
  }
}

function withDatabase(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = `/${database}`;
  return changed.href;
}

function withRole(url: string, role: string, password: string): string {
  const changed = new URL(url);
  changed.username = role;
  changed.password = password;
  return changed.href;
}
