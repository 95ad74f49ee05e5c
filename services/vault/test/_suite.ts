/** What a file of tests starts from. */
import { createPool, type Pool } from "@nexus/postgres";
import type { VaultConfig } from "../src/config.ts";
import {
  createFleet,
  createUser,
  type Fleet,
  login,
  type Replica,
  type Session,
} from "./_helpers.ts";

/** A replica, its administrator, and its tables. */
export interface Suite {
  readonly fleet: Fleet;
  readonly vault: Replica;
  readonly admin: Session;
  readonly pool: Pool;
  close(): Promise<void>;
}

/** The same with a second replica on the database. */
export interface PairSuite extends Suite {
  readonly other: Replica;
}

/** The same with an administrator of another namespace than `default`. */
export interface TenantSuite extends PairSuite {
  readonly tenant: Session;
}

/** Starts one replica; close it in afterAll. */
export async function openSuite(values: Partial<VaultConfig> = {}): Promise<Suite> {
  const fleet = await createFleet();
  const vault = await fleet.start(values);
  const admin = await login(vault);
  const { url } = fleet.database;
  const pool = createPool({ url, max: 2, applicationName: "test", schema: "vault" });
  return {
    fleet,
    vault,
    admin,
    pool,
    async close() {
      await pool.close();
      await fleet.close();
    },
  };
}

/** Starts two replicas; close them in afterAll. */
export async function openPairSuite(values: Partial<VaultConfig> = {}): Promise<PairSuite> {
  const suite = await openSuite(values);
  return { ...suite, other: await suite.fleet.start(values) };
}

/** Starts two replicas and gives a namespace an administrator; close them in afterAll. */
export async function openTenantSuite(namespace: string): Promise<TenantSuite> {
  const suite = await openPairSuite();
  const tenant = await createUser(suite.vault, suite.admin, { scopes: ["*"], namespace });
  return { ...suite, tenant };
}
