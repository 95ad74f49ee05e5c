export { type DocumentedSchema, renderConfigDocs } from "./config-docs.ts";
export { ConfigError, type ConfigProblem } from "./config-error.ts";
export {
  type ConfigChange,
  ConfigManager,
  type ConfigOrigin,
  type EffectiveSetting,
  type ReloadOutcome,
} from "./config-manager.ts";
export type { Field, FieldSpec, Fields, Parsed, ValueOf } from "./field.ts";
export {
  bytes,
  durationMs,
  float,
  int,
  type NumberSpec,
  port,
} from "./number-fields.ts";
export type { ConfigSource, Env } from "./read-config.ts";
export {
  type ConfigDefinition,
  type ConfigOf,
  type ConfigOfFields,
  type ConfigSchema,
  type CrossFieldProblem,
  defineConfig,
  envPrefix,
} from "./schema.ts";
export {
  type ServiceFields,
  type ServiceName,
  type ServicePorts,
  serviceFields,
} from "./service-fields.ts";
export {
  bool,
  type ListSpec,
  list,
  type OneOfSpec,
  oneOf,
  type SecretSpec,
  type StringSpec,
  secret,
  string,
  type UrlSpec,
  url,
} from "./text-fields.ts";
