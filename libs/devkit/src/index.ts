/** @nexus/devkit: an embedded Postgres, a local Redis or NATS and a supervised stack of all services, for development and tests. */

export {
  findNatsServer,
  type JetStreamSync,
  type LocalNats,
  type LocalNatsOptions,
  startLocalNats,
} from "./nats/local-nats.ts";
export { freePort, freePorts, isPortFree } from "./ports.ts";
export {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from "./postgres/embedded-postgres.ts";
export { fillLog } from "./postgres/fill-log.ts";
export {
  findRedisServer,
  type LocalRedis,
  type LocalRedisOptions,
  type RedisDurability,
  startLocalRedis,
} from "./redis/local-redis.ts";
export type { AdminCredentials } from "./stack/secrets.ts";
export {
  type InstanceName,
  type ProcessName,
  SERVICE_NAMES,
  type ServiceName,
} from "./stack/services.ts";
export type { ServiceInfo, StackInfo } from "./stack/stack-info.ts";
export type { StackLogMode } from "./stack/stack-log.ts";
export type { StackProcesses } from "./stack/stack-processes.ts";
export {
  COLLECTION_FLAGS,
  memoryFlags,
  SERVICE_HEAP_MIB,
  type Stack,
  type StackOptions,
  startStack,
} from "./stack/start-stack.ts";
