/** @nexus/testkit: what tests stand on. Real Postgres, real tokens, real configuration; no mocks. */
export { freePort } from "@nexus/devkit";
export { TcpProxy } from "./tcp-proxy.ts";
export { createTempFolder, type TempFolder } from "./temp-folder.ts";
export {
  createTestAuthority,
  type KeyPair,
  type TestAuthority,
  type TestCertificate,
  type TestTlsFiles,
} from "./test-certificates.ts";
export { testConfig } from "./test-config.ts";
export {
  createEmptyTestDatabase,
  createTestDatabase,
  type StoreService,
  type TestDatabase,
  type TestDatabaseOptions,
} from "./test-database.ts";
export { createTestIdentity, type TestIdentity, type TestTokenInit } from "./test-identity.ts";
export {
  openTestRedis,
  startTestRedis,
  type TestRedis,
  type TestRedisServer,
} from "./test-redis.ts";
export { insistOnTls, serveTls } from "./tls-postgres.ts";
export { hasVectors, listVectors, readVectors } from "./vectors.ts";
export { type WaitForOptions, waitFor } from "./wait-for.ts";
