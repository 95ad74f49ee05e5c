import type { Field, Fields } from "./field.ts";
import { type TlsSettings, tlsProblems } from "./tls-fields.ts";

/** The settings of one service. */
export interface ConfigSchema<F extends Fields> {
  /** Short name, e.g. `registry`, `mesh-router`. */
  readonly service: string;
  readonly fields: F;
  /** Groups of fields of which either all or none are set, e.g. a certificate and its key. */
  readonly requiresTogether: readonly (readonly (keyof F & string)[])[];
  /** The variable that holds the path of the optional JSON file. */
  readonly fileEnv: string;
  /** Checks rules between fields; returns what is wrong, by field. */
  readonly check: (config: ConfigOfFields<F>) => readonly CrossFieldProblem<F>[];
}

/** A rule between fields that does not hold. */
export interface CrossFieldProblem<F extends Fields> {
  readonly field: keyof F & string;
  readonly problem: string;
}

/** What defineConfig takes. */
export interface ConfigDefinition<F extends Fields> {
  readonly service: string;
  readonly fields: F;
  /** Half a pair refuses to start: a certificate without its key would silently serve plaintext. */
  readonly requiresTogether?: readonly (readonly (keyof F & string)[])[];
  readonly check?: (config: ConfigOfFields<F>) => readonly CrossFieldProblem<F>[];
}

/** The values of a set of fields. */
export type ConfigOfFields<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never;
};

/** The configuration type of a schema: `type RegistryConfig = ConfigOf<typeof schema>`. */
export type ConfigOf<S extends { readonly fields: Fields }> = ConfigOfFields<S["fields"]>;

/** Returns the prefix of a service's variables: `mesh-router` -> `NEXUS_MESH_ROUTER_`. */
export function envPrefix(service: string): string {
  return `NEXUS_${service.toUpperCase().replaceAll("-", "_")}_`;
}

/** Collects the groups that fields declare themselves with `together`. */
function namedGroups<F extends Fields>(fields: F): (keyof F & string)[][] {
  const groups = new Map<string, string[]>();
  for (const [key, { together }] of Object.entries(fields)) {
    if (together !== undefined) groups.set(together, [...(groups.get(together) ?? []), key]);
  }
  return [...groups.values()];
}

/** Rules between the fields that all services share; a schema without those fields has none. */
function sharedProblems<F extends Fields>(config: ConfigOfFields<F>): CrossFieldProblem<F>[] {
  const shared = config as unknown as Partial<TlsSettings>;
  if (shared.tlsMode === undefined) return [];
  return [...tlsProblems(shared as TlsSettings)];
}

/** Defines the settings of a service. Throws a plain Error when two fields share a variable.
 *
 * @example
 * export const schema = defineConfig({
 *   service: "registry",
 *   fields: {
 *     ...serviceFields("registry", { grpcPort: 7401, opsPort: 9401 }),
 *     agentTtlMs: durationMs({ env: "NEXUS_REGISTRY_AGENT_TTL_MS", default: 15_000, min: 1_000, about: "..." }),
 *   },
 * });
 */
export function defineConfig<const F extends Fields>(
  definition: ConfigDefinition<F>,
): ConfigSchema<F> {
  const seen = new Set<string>();
  for (const field of Object.values(definition.fields)) {
    if (seen.has(field.env)) throw new Error(`${field.env} is defined twice.`);
    seen.add(field.env);
  }
  return {
    service: definition.service,
    fields: definition.fields,
    requiresTogether: [...(definition.requiresTogether ?? []), ...namedGroups(definition.fields)],
    fileEnv: `${envPrefix(definition.service)}CONFIG_FILE`,
    check: (config) => [...sharedProblems<F>(config), ...(definition.check?.(config) ?? [])],
  };
}
