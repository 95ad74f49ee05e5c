import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createPool } from "@nexus/postgres";
import { createEmptyTestDatabase, createTestDatabase, type TestDatabase } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "nexus-testkit-"));
  await writeFile(
    join(directory, "0001-create-things.sql"),
    "-- breaking: no, first table\nCREATE TABLE things (id int CONSTRAINT things_pk PRIMARY KEY);",
  );
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

function poolOf(database: TestDatabase) {
  return createPool({
    url: database.url,
    max: 2,
    applicationName: "test",
    schema: database.schema,
  });
}

describe("createTestDatabase", () => {
  it("gives each caller a migrated database of its own", async () => {
    const [one, two] = await Promise.all([
      createTestDatabase("mesh-router", { migrationsDirectory: directory }),
      createTestDatabase("mesh-router", { migrationsDirectory: directory }),
    ]);
    const first = poolOf(one);
    const second = poolOf(two);
    await first.query("INSERT INTO things (id) VALUES (1)");
    expect((await first.query("SELECT id FROM things")).rows).toEqual([{ id: 1 }]);
    expect((await second.query("SELECT id FROM things")).rows).toEqual([]);
    expect(one.schema).toBe("mesh");
    await Promise.all([first.close(), second.close()]);
    await Promise.all([one.close(), two.close()]);
  });

  it("connects as a role that is not a superuser", async () => {
    const database = await createTestDatabase("vault", { migrated: false });
    const pool = poolOf(database);
    const { rows } = await pool.query(
      "SELECT rolsuper AS superuser FROM pg_roles WHERE rolname = current_user",
    );
    expect(rows).toEqual([{ superuser: false }]);
    await pool.close();
    await database.close();
  });

  it("drops the database under open connections and only once", async () => {
    const database = await createEmptyTestDatabase();
    const pool = poolOf(database);
    await pool.query("SELECT 1");
    await Promise.all([database.close(), database.close()]);
    await expect(pool.query("SELECT 1")).rejects.toMatchObject({ name: "NexusError" });
    await pool.close();
  });

  it("reports a failing migration instead of cloning a half-made template", async () => {
    const broken = await mkdtemp(join(tmpdir(), "nexus-testkit-"));
    await writeFile(join(broken, "0001-broken.sql"), "CREATE TABLE (;");
    const open = () => createTestDatabase("insight", { migrationsDirectory: broken });
    await expect(open()).rejects.toMatchObject({ reason: "MIGRATION_FAILED" });
    await expect(open()).rejects.toMatchObject({ reason: "MIGRATION_FAILED" });
    await rm(broken, { recursive: true });
  });
});
