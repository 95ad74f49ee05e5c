/** What a file of tests with two replicas starts from. */
import { createPool, type Pool } from "@nexus/postgres";
import {
  createFleet,
  createUser,
  type Fleet,
  login,
  type Replica,
  type Session,
} from "./_helpers.ts";

/** Two replicas on one database, an administrator of `default` and one of another namespace. */
export interface Suite {
  readonly fleet: Fleet;
  readonly vault: Replica;
  readonly other: Replica;
  readonly admin: Session;
  readonly tenant: Session;
  readonly pool: Pool;
  close(): Promise<void>;
}

/** Starts them; close it in afterAll. */
export async function openSuite(namespace: string): Promise<Suite> {
  const fleet = await createFleet();
  const vault = await fleet.start();
  const other = await fleet.start();
  const admin = await login(vault);
  const tenant = await createUser(vault, admin, { scopes: ["*"], namespace });
  const { url } = fleet.database;
  const pool = createPool({ url, max: 2, applicationName: "test", schema: "vault" });
  return {
    fleet,
    vault,
    other,
    admin,
    tenant,
    pool,
    async close() {
      await pool.close();
      await fleet.close();
    },
  };
}
