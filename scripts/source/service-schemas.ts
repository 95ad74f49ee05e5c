/** Loads the configuration schemas of all services from their builds, in the order people read about them. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { ConfigSchema, Fields, ServiceName } from "@nexus/core";

/** Any service's schema. */
export type ServiceSchema = ConfigSchema<Fields>;

/** The six services, by the name that their folder, their Deployment and their Compose service carry. */
export const SERVICE_NAMES: readonly ServiceName[] = [
  "gateway",
  "registry",
  "orchestrator",
  "mesh-router",
  "vault",
  "insight",
];

/** Imports `dist/config.js` of each service; throws when one is not built or exports no schema. */
export async function loadServiceSchemas(
  root: string,
): Promise<ReadonlyMap<ServiceName, ServiceSchema>> {
  const schemas = new Map<ServiceName, ServiceSchema>();
  for (const name of SERVICE_NAMES) {
    const path = join(root, "services", name, "dist/config.js");
    if (!existsSync(path)) throw new Error(`${path} does not exist; run npm run build first`);
    const module = (await import(pathToFileURL(path).href)) as Record<string, unknown>;
    const schema = Object.values(module).find(isSchema);
    if (schema === undefined) throw new Error(`${path} exports no schema made by defineConfig`);
    schemas.set(name, schema);
  }
  return schemas;
}

/** Lists every variable that some service reads, with the `_FILE` form of secrets and the configuration files. */
export function listVariables(schema: ServiceSchema): string[] {
  const fields = Object.values(schema.fields);
  const names = fields.flatMap(({ env, secret }) => (secret ? [env, `${env}_FILE`] : [env]));
  return [schema.fileEnv, ...names];
}

function isSchema(value: unknown): value is ServiceSchema {
  return typeof value === "object" && value !== null && "fields" in value && "fileEnv" in value;
}
