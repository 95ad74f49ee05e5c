/** @nexus/testkit: what tests stand on. Real Postgres, real tokens, real configuration; no mocks. */
export { freePort } from "@nexus/devkit";
export { testConfig } from "./test-config.ts";
export {
  createEmptyTestDatabase,
  createTestDatabase,
  type StoreService,
  type TestDatabase,
  type TestDatabaseOptions,
} from "./test-database.ts";
export { createTempFolder, type TempFolder } from "./temp-folder.ts";
export { createTestIdentity, type TestIdentity, type TestTokenInit } from "./test-identity.ts";
export { waitFor, type WaitForOptions } from "./wait-for.ts";
