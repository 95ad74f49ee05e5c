/** @nexus/postgres: pool, transactions, migrations, notifications and the mapping of database errors. Knows no table. */
export {
  boolArray,
  byteaArray,
  int2Array,
  int4Array,
  int8Array,
  jsonArray,
  textArray,
  uuidArray,
} from "./binary-array.ts";
export { constraintOf, isRetryableConnectionError, sqlStateOf } from "./connection-errors.ts";
export {
  createListener,
  type Listener,
  type ListenerLogger,
  type ListenerOptions,
} from "./listener.ts";
export { type MigrateOptions, type MigrationReport, migrate } from "./migrate.ts";
export { readMigrationFiles } from "./migration-files.ts";
export {
  decodePageToken,
  encodePageToken,
  type PageTokenType,
  type PageTokenValue,
} from "./page-token.ts";
export {
  type ConstraintMeaning,
  type ConstraintMeanings,
  mapPgError,
  PostgresError,
} from "./pg-errors.ts";
export {
  createPool,
  type Pool,
  type PoolLogger,
  type PoolOptions,
} from "./pool.ts";
export { provisionDatabase, type ServiceDatabase } from "./provision.ts";
export type {
  PipelinedClient,
  PoolClient,
  Queryable,
  QueryResult,
  Statement,
} from "./queryable.ts";
export { together } from "./together.ts";
export {
  type IsolationLevel,
  OpenTransaction,
  type Transaction,
  type TransactionOptions,
  withTransaction,
} from "./transaction.ts";
