import { createPool, type Pool, provisionDatabase } from "@nexus/postgres";
import { createEmptyTestDatabase, type TestDatabase } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const SERVICES = [
  { role: "provision_one", password: 'p\'w1 with "quotes"', schema: "one" },
  { role: "provision_two", password: "pw2", schema: "two" },
] as const;

let database: TestDatabase;
let one: Pool;
let two: Pool;

function poolOf(service: (typeof SERVICES)[number], password: string = service.password): Pool {
  const url = new URL(database.adminUrl);
  url.username = service.role;
  url.password = encodeURIComponent(password);
  return createPool({ url: url.href, max: 2, applicationName: "t", schema: service.schema });
}

beforeAll(async () => {
  database = await createEmptyTestDatabase();
  await Promise.all([
    provisionDatabase(database.adminUrl, SERVICES),
    provisionDatabase(database.adminUrl, SERVICES),
  ]);
  await provisionDatabase(database.adminUrl, SERVICES);
  one = poolOf(SERVICES[0]);
  two = poolOf(SERVICES[1]);
  await one.query("CREATE TABLE secrets (id int)");
  await one.query("INSERT INTO secrets VALUES (1)");
});

afterAll(async () => {
  await one.close();
  await two.close();
  const admin = createPool({
    url: database.adminUrl,
    max: 1,
    applicationName: "t",
    schema: "public",
  });
  for (const { role } of SERVICES) {
    await admin.query(`DROP OWNED BY ${role} CASCADE`);
    await admin.query(`DROP ROLE ${role}`);
  }
  await admin.close();
  await database.close();
});

describe("provisionDatabase", () => {
  it("lets a role use its own schema", async () => {
    await expect(one.query("SELECT id FROM secrets")).resolves.toMatchObject({ rowCount: 1 });
  });

  it.each([
    "SELECT * FROM one.secrets",
    "INSERT INTO one.secrets VALUES (2)",
    "CREATE TABLE one.mine (id int)",
    "CREATE TABLE public.mine (id int)",
    "CREATE SCHEMA three",
    "CREATE ROLE boss SUPERUSER",
    "SET ROLE provision_one",
  ])("refuses another role: %s", async (statement) => {
    await expect(two.query(statement)).rejects.toMatchObject({
      kind: "internal",
      reason: "DATABASE_ERROR",
      message: expect.stringContaining("42501"),
    });
  });

  it("replaces the password when called again", async () => {
    const changed = { ...SERVICES[1], password: "another" };
    await provisionDatabase(database.adminUrl, [changed]);
    const after = poolOf(SERVICES[1], "another");
    await expect(after.query("SELECT 1")).resolves.toMatchObject({ rowCount: 1 });
    await after.close();
    const before = poolOf(SERVICES[1]);
    await expect(before.query("SELECT 1")).rejects.toMatchObject({ kind: "internal" });
    await before.close();
  });

  it("refuses names that would need quoting", async () => {
    const odd = { role: 'x"; DROP ROLE postgres', password: "p", schema: "s" };
    await expect(provisionDatabase(database.adminUrl, [odd])).rejects.toThrow(TypeError);
  });
});
