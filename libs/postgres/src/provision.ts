/** Gives each service its own role and schema in one database. */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { Client, escapeIdentifier, escapeLiteral } from "pg";
import { sqlStateOf } from "./connection-errors.ts";
import { assertIdentifier } from "./identifier.ts";
import { mapPgError } from "./pg-errors.ts";

const CONNECTION_TIMEOUT_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 30_000;
const ATTEMPTS_MAX = 5;
const RETRY_DELAY_MS = 50;
/** Roles belong to the whole server: two provisioners in two databases can meet on one role's row. */
const ROLE_RACE_STATES: ReadonlySet<string> = new Set(["42710", "23505", "XX000", "42P06"]);
const SCRAM_ITERATIONS = 4096;
const SCRAM_SALT_BYTES = 16;

/** One service's place in the database. */
export interface ServiceDatabase {
  readonly role: string;
  readonly password: string;
  readonly schema: string;
}

/** Creates or updates one role and one schema per service in the database that `adminUrl` names.
 *
 * Idempotent, and safe from several processes. Afterwards a role can connect to this database, owns its schema and reaches no
 * other; nobody but the owner and superusers can use it or create in `public`. The password crosses the wire as a SCRAM
 * verifier, so it shows in no server log. Needs a superuser, or a role with CREATEROLE that owns the database.
 * Errors: as mapPgError says. */
export async function provisionDatabase(
  adminUrl: string,
  services: readonly ServiceDatabase[],
): Promise<void> {
  for (const service of services) {
    assertIdentifier(service.role, "role");
    assertIdentifier(service.schema, "schema");
  }
  const client = new Client({
    connectionString: adminUrl,
    application_name: "nexus-provision",
    connectionTimeoutMillis: CONNECTION_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
  });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await closePublicDoors(client);
    for (const service of services) await retryRoleRaces(() => provisionService(client, service));
  } catch (error) {
    throw mapPgError(error);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function closePublicDoors(client: Client): Promise<void> {
  const database = await databaseName(client);
  await retryRoleRaces(async () => {
    await client.query(`REVOKE ALL ON DATABASE ${database} FROM PUBLIC`);
    await client.query("REVOKE ALL ON SCHEMA public FROM PUBLIC");
  });
}

async function provisionService(client: Client, service: ServiceDatabase): Promise<void> {
  const { role, schema } = service;
  const existing = await client.query("SELECT 1 FROM pg_roles WHERE rolname = $1", [role]);
  if (existing.rowCount === 0) await client.query(`CREATE ROLE ${role}`);
  const verifier = escapeLiteral(scramVerifier(service.password));
  await client.query(`ALTER ROLE ${role} LOGIN PASSWORD ${verifier}`);
  const self = await client.query<{ superuser: boolean }>(
    "SELECT rolsuper AS superuser FROM pg_roles WHERE rolname = current_user",
  );
  // Without superuser rights, handing a schema to a role needs membership in that role.
  if (self.rows[0]?.superuser !== true) await client.query(`GRANT ${role} TO CURRENT_USER`);
  const database = await databaseName(client);
  await client.query(`GRANT CONNECT ON DATABASE ${database} TO ${role}`);
  await client.query(`CREATE SCHEMA IF NOT EXISTS ${schema} AUTHORIZATION ${role}`);
  await client.query(`ALTER SCHEMA ${schema} OWNER TO ${role}`);
  await client.query(`REVOKE ALL ON SCHEMA ${schema} FROM PUBLIC`);
  await client.query(`ALTER ROLE ${role} IN DATABASE ${database} SET search_path = ${schema}`);
}

async function databaseName(client: Client): Promise<string> {
  const { rows } = await client.query<{ name: string }>("SELECT current_database() AS name");
  return escapeIdentifier(rows[0]?.name ?? "");
}

async function retryRoleRaces(step: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await step();
    } catch (error) {
      if (attempt >= ATTEMPTS_MAX || !ROLE_RACE_STATES.has(sqlStateOf(error) ?? "")) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS * attempt));
  }
}

/** RFC 5802 as Postgres stores it: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>. */
function scramVerifier(password: string): string {
  const salt = randomBytes(SCRAM_SALT_BYTES);
  const salted = pbkdf2Sync(password.normalize("NFKC"), salt, SCRAM_ITERATIONS, 32, "sha256");
  const clientKey = createHmac("sha256", salted).update("Client Key").digest();
  const storedKey = createHash("sha256").update(clientKey).digest("base64");
  const serverKey = createHmac("sha256", salted).update("Server Key").digest("base64");
  return `SCRAM-SHA-256$${SCRAM_ITERATIONS}:${salt.toString("base64")}$${storedKey}:${serverKey}`;
}
