/** Every service's migrations can be read as its start reads them: two changes that took the same number would each pass by themselves. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readMigrationFiles } from "@nexus/postgres";
import { expect, it } from "vitest";
import { SERVICE_NAMES } from "../scripts/source/service-schemas.ts";
import { ROOT } from "./_manifests.ts";

const withMigrations = SERVICE_NAMES.filter((name) => existsSync(directoryOf(name)));

it.each(withMigrations)(
  "the migrations of %s are numbered without gaps or doubles",
  async (name) => {
    expect(await readMigrationFiles(directoryOf(name))).not.toEqual([]);
  },
);

function directoryOf(name: string): string {
  return join(ROOT, "services", name, "migrations");
}
