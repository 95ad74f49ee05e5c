/** Reads a directory of numbered SQL files and compares it with what a database says it has applied. */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { NexusError } from "@nexus/shared";

const FILE_NAME = /^(\d{4})-[a-z0-9]+(?:-[a-z0-9]+)*\.sql$/;
/** A file runs inside the migrator's own transaction; one that ends it would leave a half-applied file behind. */
const ENDS_TRANSACTION = /^\s*(?:commit|rollback|end)\s*;/im;
const BREAKING_NO = /^--.*\bbreaking\b\W*no\b/i;

/** One migration file. */
export interface MigrationFile {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
  /** False only when the first line says `-- breaking: no`: older builds may then run on the newer schema. */
  readonly breaking: boolean;
}

/** One row of the table of applied migrations. */
export interface AppliedMigration {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
  readonly breaking: boolean;
}

/** What is left to do, and what the database has beyond this build. */
export interface MigrationPlan {
  readonly pending: readonly MigrationFile[];
  readonly ahead: readonly string[];
}

/** Reads all migrations of a directory, in order.
 *
 * Errors: precondition/MIGRATION_FILES_INVALID for a wrong name, a gap or duplicate in the numbers, or a COMMIT inside a file. */
export async function readMigrationFiles(directory: string): Promise<MigrationFile[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith(".sql")).sort();
  const files = await Promise.all(names.map((name) => readMigrationFile(directory, name)));
  for (const [index, file] of files.entries()) {
    if (file.version !== index + 1) {
      throw filesInvalid(
        `migration ${file.name} should have number ${index + 1}: numbers start at 0001 without gaps or duplicates`,
      );
    }
  }
  return files;
}

async function readMigrationFile(directory: string, name: string): Promise<MigrationFile> {
  const version = FILE_NAME.exec(name)?.[1];
  if (version === undefined) {
    throw filesInvalid(`migration ${name} must be named like 0001-create-agents.sql`);
  }
  const sql = await readFile(join(directory, name), "utf8");
  if (ENDS_TRANSACTION.test(sql)) {
    throw filesInvalid(`migration ${name} must not end the transaction it runs in`);
  }
  return {
    version: Number(version),
    name,
    sql,
    checksum: createHash("sha256").update(sql).digest("hex"),
    breaking: !BREAKING_NO.test(sql),
  };
}

/** Compares files with the applied rows.
 *
 * Shape: `ahead` names migrations newer than this build, accepted because none of them is breaking: a rollback stays possible.
 * Errors: precondition/MIGRATION_MISMATCH when a file changed or is missing, or when a newer migration is breaking. */
export function planMigrations(
  files: readonly MigrationFile[],
  applied: readonly AppliedMigration[],
): MigrationPlan {
  const byVersion = new Map(files.map((file) => [file.version, file]));
  const ahead: string[] = [];
  for (const row of applied) {
    const file = byVersion.get(row.version);
    if (file !== undefined) assertUnchanged(file, row);
    else if (row.version <= files.length) throw missing(row);
    else if (row.breaking) throw tooNew(row);
    else ahead.push(row.name);
  }
  const done = new Set(applied.map((row) => row.version));
  return { pending: files.filter((file) => !done.has(file.version)), ahead };
}

function assertUnchanged(file: MigrationFile, row: AppliedMigration): void {
  if (file.checksum === row.checksum && file.name === row.name) return;
  const was = file.name === row.name ? "" : ` (it was applied as ${row.name})`;
  throw new NexusError({
    kind: "precondition",
    reason: "MIGRATION_MISMATCH",
    message: `migration ${file.name} differs from the one that was applied${was}: restore it and add a new migration instead`,
  });
}

function missing(row: AppliedMigration): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "MIGRATION_MISMATCH",
    message: `migration ${row.name} was applied but its file is missing: restore it`,
  });
}

function tooNew(row: AppliedMigration): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "MIGRATION_MISMATCH",
    message: `the database has migration ${row.name}, which this build does not have and cannot run with: restore its file or start a newer build`,
  });
}

function filesInvalid(message: string): NexusError {
  return new NexusError({ kind: "precondition", reason: "MIGRATION_FILES_INVALID", message });
}
