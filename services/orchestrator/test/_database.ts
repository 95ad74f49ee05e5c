/** A database of its own with a pool, for tests of stores without a service. */
import { createPool, type Pool } from "@nexus/postgres";
import { createTestDatabase } from "@nexus/testkit";

const CONNECTIONS = 6;

export interface OpenDatabase {
  readonly pool: Pool;
  readonly close: () => Promise<void>;
}

export async function openDatabase(): Promise<OpenDatabase> {
  const database = await createTestDatabase("orchestrator");
  const { url, schema } = database;
  const pool = createPool({ url, schema, max: CONNECTIONS, applicationName: "test" });
  const close = async () => {
    await pool.close();
    await database.close();
  };
  return { pool, close };
}
