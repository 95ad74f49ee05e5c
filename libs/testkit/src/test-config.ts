/** Configurations for tests: a few values given, the rest filled in. */
import { ConfigManager, type ConfigOfFields, type ConfigSchema, type Fields } from "@nexus/core";

/** Long enough for every secret field, and recognisable should it ever show up in a log. */
const SECRET = "test-secret-that-must-never-be-logged-0123456789";

/** Loads a schema from values by field name, through the same checks as the environment.
 *
 * Absent ports become 0, so that a service takes free ones; absent required secrets get a fixed text; log level is `silent`.
 * Errors: ConfigError as from ConfigManager.load; TypeError for a value whose field does not exist. */
export function testConfig<F extends Fields>(
  schema: ConfigSchema<F>,
  values: Partial<ConfigOfFields<F>> = {},
): ConfigManager<ConfigOfFields<F>> {
  const given = values as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(given)) {
    if (Object.hasOwn(schema.fields, key)) continue;
    throw new TypeError(`${schema.service} has no field ${key}`);
  }
  const env: Record<string, string> = {};
  for (const [key, field] of Object.entries(schema.fields)) {
    const text = given[key] === undefined ? standIn(key, field) : field.format(given[key]);
    if (text !== undefined) env[field.env] = text;
  }
  return ConfigManager.load(schema, { env });
}

function standIn(key: string, field: Fields[string]): string | undefined {
  if (/^(?:grpc|ops|http)Port$/.test(key)) return "0";
  if (key === "logLevel") return "silent";
  const required = field.defaultValue === undefined && !field.optional;
  return required && field.secret ? SECRET : undefined;
}
