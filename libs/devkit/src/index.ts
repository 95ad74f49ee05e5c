/** @nexus/devkit: an embedded Postgres and a supervised stack of all services, for development and tests. */
export {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from "./postgres/embedded-postgres.ts";
export { freePort, freePorts, isPortFree } from "./ports.ts";
