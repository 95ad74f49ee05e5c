/** Shared by the tests of this package: a pool on an empty database, closed with it. */
import { createPool, type Pool, type PoolOptions } from "@nexus/postgres";
import { createEmptyTestDatabase, type TestDatabase } from "@nexus/testkit";

export interface OpenDatabase {
  readonly database: TestDatabase;
  readonly pool: Pool;
  close(): Promise<void>;
}

export async function openDatabase(options: Partial<PoolOptions> = {}): Promise<OpenDatabase> {
  const database = await createEmptyTestDatabase();
  const pool = createPool({
    url: database.url,
    max: 4,
    applicationName: "postgres-test",
    schema: "public",
    ...options,
  });
  return {
    database,
    pool,
    close: async () => {
      await pool.close();
      await database.close();
    },
  };
}
