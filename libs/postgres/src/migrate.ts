/** The migrator: forward only, one transaction per file, one replica at a time. */
import { NexusError } from "@nexus/shared";
import { isRetryableConnectionError } from "./connection-errors.ts";
import { assertIdentifier } from "./identifier.ts";
import {
  type AppliedMigration,
  type MigrationFile,
  planMigrations,
  readMigrationFiles,
} from "./migration-files.ts";
import { mapPgError } from "./pg-errors.ts";
import type { Pool } from "./pool.ts";
import type { PoolClient } from "./queryable.ts";

const TABLE = "schema_migrations";
/** First key of the advisory lock, so that it cannot meet another use of advisory locks: "NXMG". */
const LOCK_CLASS = 0x4e584d47;
const LOCK_TIMEOUT_DEFAULT_MS = 120_000;
const CONNECT_TIMEOUT_DEFAULT_MS = 60_000;
/** The pool's limit for an answer would cut a long migration or lock wait; an hour still ends one that hangs. */
const READ_TIMEOUT_MS = 3_600_000;

/** What to migrate. */
export interface MigrateOptions {
  /** Created when absent; every file runs with it as search_path. */
  readonly schema: string;
  /** Folder of NNNN-name.sql files. */
  readonly directory: string;
  /** Longest wait for another replica's migration. @default 120_000 */
  readonly lockTimeoutMs?: number;
  /** Longest wait for a database that is not up yet. @default 60_000 */
  readonly connectTimeoutMs?: number;
}

/** What migrate did. */
export interface MigrationReport {
  readonly schema: string;
  /** Files applied by this call, in order. */
  readonly applied: readonly string[];
  /** Non-breaking migrations in the database that this build does not have. */
  readonly ahead: readonly string[];
  /** Highest version in the database now. */
  readonly version: number;
}

/** Brings a schema up to the files of a directory.
 *
 * Replicas that start together wait for each other on a blocking advisory lock (per schema); the later ones find nothing to do.
 * Errors: those of readMigrationFiles and planMigrations; precondition/MIGRATION_FAILED naming the file, whose transaction was
 * rolled back; conflict/LOCK_NOT_AVAILABLE after lockTimeoutMs; unavailable/DATABASE_UNAVAILABLE after connectTimeoutMs;
 * unavailable/DATABASE_UNTRUSTED at once. */
export async function migrate(pool: Pool, options: MigrateOptions): Promise<MigrationReport> {
  assertIdentifier(options.schema, "schema");
  const files = await readMigrationFiles(options.directory);
  const client = await connectPatiently(
    pool,
    options.connectTimeoutMs ?? CONNECT_TIMEOUT_DEFAULT_MS,
  );
  try {
    // The session keeps no limits of the pool: a migration may rightly take minutes. It is closed at the end.
    await client.query("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0");
    await client.query(`SET lock_timeout = ${options.lockTimeoutMs ?? LOCK_TIMEOUT_DEFAULT_MS}`);
    await client.query({
      text: "SELECT pg_advisory_lock($1, hashtext($2))",
      values: [LOCK_CLASS, options.schema],
      readTimeoutMs: READ_TIMEOUT_MS,
    });
    return await migrateLocked(client, options.schema, files);
  } finally {
    // Closing the session frees the lock, also after an error.
    client.release(true);
  }
}

async function migrateLocked(
  client: PoolClient,
  schema: string,
  files: readonly MigrationFile[],
): Promise<MigrationReport> {
  await prepareSchema(client, schema);
  const { rows } = await client.query<AppliedMigration>(
    `SELECT version, name, checksum, breaking FROM ${schema}.${TABLE} ORDER BY version`,
  );
  const plan = planMigrations(files, rows);
  for (const file of plan.pending) await apply(client, schema, file);
  return {
    schema,
    applied: plan.pending.map((file) => file.name),
    ahead: plan.ahead,
    version: Math.max(files.length, rows.at(-1)?.version ?? 0),
  };
}

async function prepareSchema(client: PoolClient, schema: string): Promise<void> {
  // CREATE SCHEMA IF NOT EXISTS asks for a privilege on the database even when the schema exists, so look first.
  const { rows } = await client.query("SELECT 1 FROM pg_namespace WHERE nspname = $1", [schema]);
  if (rows.length === 0) await client.query(`CREATE SCHEMA ${schema}`);
  await client.query(
    `CREATE TABLE IF NOT EXISTS ${schema}.${TABLE} (
       version int PRIMARY KEY,
       name text NOT NULL,
       checksum text NOT NULL,
       breaking boolean NOT NULL,
       applied_at timestamptz NOT NULL DEFAULT now()
     )`,
  );
}

async function apply(client: PoolClient, schema: string, file: MigrationFile): Promise<void> {
  await client.query("BEGIN");
  try {
    await client.query(`SET LOCAL search_path = ${schema}`);
    await client.query({ text: file.sql, readTimeoutMs: READ_TIMEOUT_MS });
    await client.query(
      `INSERT INTO ${schema}.${TABLE} (version, name, checksum, breaking) VALUES ($1, $2, $3, $4)`,
      [file.version, file.name, file.checksum, file.breaking],
    );
    await client.query("COMMIT");
  } catch (error) {
    const mapped = mapPgError(error);
    if (mapped.kind === "unavailable") throw mapped;
    throw new NexusError({
      kind: "precondition",
      reason: "MIGRATION_FAILED",
      message: `migration ${file.name} of schema ${schema} failed and was rolled back: ${causeText(mapped)}`,
      cause: mapped,
    });
  }
}

/** The server's own words go to the operator who starts the service; no caller of an RPC ever sees them. */
function causeText(error: NexusError): string {
  return error.cause instanceof Error ? error.cause.message : error.message;
}

async function connectPatiently(pool: Pool, timeoutMs: number): Promise<PoolClient> {
  const giveUpAt = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await pool.connect();
    } catch (error) {
      // pool.connect has its own backoff and took up to the connection timeout, so this loop does not spin.
      if (!isRetryableConnectionError(error) || performance.now() >= giveUpAt) throw error;
    }
  }
}
