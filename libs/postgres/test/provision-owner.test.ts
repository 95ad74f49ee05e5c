import { createPool, provisionDatabase } from "@nexus/postgres";
import { createEmptyTestDatabase, type TestDatabase } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const OWNER = "provision_owner";
const SERVICE = { role: "provision_managed", password: "pw", schema: "managed" } as const;

let database: TestDatabase;
let ownerUrl: string;

async function asAdmin(...statements: string[]): Promise<void> {
  const { adminUrl: url } = database;
  const admin = createPool({ url, max: 1, applicationName: "t", schema: "public" });
  for (const statement of statements) await admin.query(statement);
  await admin.close();
}

beforeAll(async () => {
  database = await createEmptyTestDatabase();
  const url = new URL(database.adminUrl);
  const name = url.pathname.slice(1);
  await asAdmin(
    `CREATE ROLE ${OWNER} LOGIN CREATEROLE PASSWORD 'owner'`,
    `ALTER DATABASE ${name} OWNER TO ${OWNER}`,
  );
  url.username = OWNER;
  url.password = "owner";
  ownerUrl = url.href;
});

afterAll(async () => {
  const name = new URL(database.adminUrl).pathname.slice(1);
  await asAdmin(`DROP OWNED BY ${SERVICE.role} CASCADE`, `DROP ROLE ${SERVICE.role}`);
  await asAdmin(`ALTER DATABASE ${name} OWNER TO CURRENT_USER`);
  await asAdmin(`DROP OWNED BY ${OWNER} CASCADE`, `DROP ROLE ${OWNER}`);
  await database.close();
});

describe("provisionDatabase without a superuser, as on managed Postgres", () => {
  it("accepts a role that may create roles and owns the database, twice", async () => {
    await provisionDatabase(ownerUrl, [SERVICE]);
    await provisionDatabase(ownerUrl, [SERVICE]);
    const url = new URL(ownerUrl);
    url.username = SERVICE.role;
    url.password = SERVICE.password;
    const pool = createPool({ url: url.href, max: 1, applicationName: "t", schema: "managed" });
    await pool.query("CREATE TABLE mine (id int)");
    await expect(pool.query("SELECT id FROM mine")).resolves.toMatchObject({ rowCount: 0 });
    await pool.close();
  });
});
