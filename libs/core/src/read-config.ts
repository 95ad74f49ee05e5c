import type { ConfigProblem } from "./config-error.ts";
import { readConfigFile, readSecretFile } from "./config-file.ts";
import type { Field, Fields } from "./field.ts";
import { type ConfigOfFields, type ConfigSchema, envPrefix } from "./schema.ts";

/** Where a value came from. */
export type ConfigSource = "env" | "file" | "default" | "unset";

/** The environment, as process.env has it. */
export type Env = Readonly<Record<string, string | undefined>>;

/** A configuration that was read: complete when there are no problems. */
export interface ReadConfig<F extends Fields> {
  readonly values: ConfigOfFields<F>;
  readonly sources: ReadonlyMap<string, ConfigSource>;
  readonly problems: readonly ConfigProblem[];
}

interface Raw {
  readonly text: string;
  readonly source: "env" | "file";
}

interface Sources {
  readonly env: Env;
  readonly file: ReadonlyMap<string, string>;
}

type Found = { readonly raw: Raw | undefined } | { readonly problem: string; readonly env: string };

/** Finds the raw text of a field: environment first, then the file. An empty variable counts as not set, as
 * compose files and shells produce those for "no value". */
function findRaw(field: Field<unknown>, sources: Sources): Found {
  const direct = lookUp(field.env, sources);
  if (!field.fromFile) return { raw: direct };
  const pathEnv = `${field.env}_FILE`;
  const path = lookUp(pathEnv, sources);
  if (path === undefined) return { raw: direct };
  if (direct !== undefined) {
    return { env: pathEnv, problem: `is set beside ${field.env}; keep one` };
  }
  const read = readSecretFile(path.text);
  if ("problem" in read) return { env: pathEnv, problem: read.problem };
  return { raw: { text: read.value, source: path.source } };
}

function lookUp(name: string, sources: Sources): Raw | undefined {
  const fromEnv = sources.env[name];
  if (fromEnv !== undefined && fromEnv !== "") return { text: fromEnv, source: "env" };
  const fromFile = sources.file.get(name);
  return fromFile === undefined ? undefined : { text: fromFile, source: "file" };
}

class Reader {
  readonly values: Record<string, unknown> = {};
  readonly sources = new Map<string, ConfigSource>();
  readonly problems: ConfigProblem[] = [];

  read(key: string, field: Field<unknown>, sources: Sources): void {
    const found = findRaw(field, sources);
    if ("problem" in found) {
      this.problems.push({ env: found.env, problem: found.problem, example: "" });
      this.sources.set(key, "unset");
      return;
    }
    if (found.raw === undefined) {
      this.#useDefault(key, field);
      return;
    }
    this.sources.set(key, found.raw.source);
    const parsed = field.parse(found.raw.text);
    if ("value" in parsed) this.values[key] = parsed.value;
    else this.problems.push({ env: field.env, problem: parsed.problem, example: field.example });
  }

  #useDefault(key: string, field: Field<unknown>): void {
    this.values[key] = field.defaultValue;
    this.sources.set(key, field.defaultValue === undefined ? "unset" : "default");
    if (field.defaultValue === undefined && !field.optional) {
      this.problems.push({ env: field.env, problem: "is not set", example: field.example });
    }
  }
}

function checkGroups<F extends Fields>(schema: ConfigSchema<F>, reader: Reader): void {
  for (const group of schema.requiresTogether) {
    const missing = group.filter((key) => reader.sources.get(key) === "unset");
    if (missing.length === 0 || missing.length === group.length) continue;
    const present = group.filter((key) => !missing.includes(key));
    for (const key of missing) {
      const field = schema.fields[key] as Field<unknown>;
      const others = present.map((other) => (schema.fields[other] as Field<unknown>).env);
      const problem = `is not set, but is required together with ${others.join(", ")}`;
      reader.problems.push({ env: field.env, problem, example: field.example });
    }
  }
}

function readFileValues<F extends Fields>(
  schema: ConfigSchema<F>,
  path: string | undefined,
  problems: ConfigProblem[],
): ReadonlyMap<string, string> {
  if (path === undefined) return new Map();
  const file = readConfigFile(path);
  if ("problem" in file) {
    problems.push({
      env: schema.fileEnv,
      problem: `names a file that ${file.problem}`,
      example: "",
    });
    return new Map();
  }
  const known = knownNames(schema);
  for (const name of file.values.keys()) {
    if (known.has(name) || isForAnother(schema, name)) continue;
    problems.push({
      env: name,
      problem: "in the file is no known setting",
      example: nearest(name, known),
    });
  }
  return file.values;
}

/** One file may serve several services, so another service's variables are not a mistake. */
function isForAnother<F extends Fields>(schema: ConfigSchema<F>, name: string): boolean {
  return name.startsWith("NEXUS_") && !name.startsWith(envPrefix(schema.service));
}

function knownNames<F extends Fields>(schema: ConfigSchema<F>): ReadonlySet<string> {
  const names = new Set<string>([schema.fileEnv]);
  for (const field of Object.values(schema.fields)) {
    names.add(field.env);
    if (field.fromFile) names.add(`${field.env}_FILE`);
  }
  return names;
}

/** Kubernetes describes a Service `nexus-registry` to every pod in variables of these forms. */
const SERVICE_LINK_PATTERN =
  /_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP)(?:_\w+)?)?)$/;

/** Returns the set variables that carry the service's prefix but are no setting: most likely typing mistakes.
 * They are warned about and not refused, because platforms add variables of their own. */
export function unknownVariables<F extends Fields>(schema: ConfigSchema<F>, env: Env): string[] {
  const prefix = envPrefix(schema.service);
  const known = knownNames(schema);
  return Object.keys(env)
    .filter((name) => name.startsWith(prefix) && !known.has(name))
    .filter((name) => !SERVICE_LINK_PATTERN.test(name))
    .sort();
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** Returns the known name that differs least, as the example in "no known setting". */
function nearest(name: string, known: ReadonlySet<string>): string {
  let best = "";
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const distance = editDistance(name, candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Reads and checks all fields of a schema; collects every problem instead of stopping at the first. */
export function readConfig<F extends Fields>(
  schema: ConfigSchema<F>,
  env: Env,
  filePath: string | undefined,
): ReadConfig<F> {
  const reader = new Reader();
  const file = readFileValues(schema, filePath, reader.problems);
  for (const [key, field] of Object.entries(schema.fields)) reader.read(key, field, { env, file });
  checkGroups(schema, reader);
  const values = reader.values as ConfigOfFields<F>;
  // Rules between fields are only asked when each field is sound by itself.
  if (reader.problems.length === 0) {
    for (const { field, problem } of schema.check(values)) {
      const { env: name, example } = schema.fields[field] as Field<unknown>;
      reader.problems.push({ env: name, problem, example });
    }
  }
  return { values, sources: reader.sources, problems: reader.problems };
}
