import { type FSWatcher, watch } from "node:fs";
import { basename, dirname } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { ConfigError } from "./config-error.ts";
import type { Field, Fields } from "./field.ts";
import {
  type ConfigSource,
  type Env,
  type ReadConfig,
  readConfig,
  unknownVariables,
} from "./read-config.ts";
import type { ConfigOfFields, ConfigSchema } from "./schema.ts";

/** Where a configuration is read from. */
export interface ConfigOrigin {
  /** Usually process.env. */
  readonly env: Env;
  /** Default: the path in NEXUS_<SERVICE>_CONFIG_FILE, or no file. */
  readonly filePath?: string;
}

/** What reload() found for one field. Values are shown redacted. */
export interface ConfigChange {
  readonly key: string;
  readonly env: string;
  readonly from: string;
  readonly to: string;
  /** False for a field that is not dynamic: the running service keeps the old value until it is restarted. */
  readonly applied: boolean;
}

/** One line of the effective configuration. */
export interface EffectiveSetting {
  readonly env: string;
  /** As it would be written; secrets as `[set]`, absent values as an empty text. */
  readonly value: string;
  readonly source: ConfigSource;
}

/** What a file watch saw: the changes, or why the new content was refused. */
export type ReloadOutcome =
  | { readonly changes: readonly ConfigChange[] }
  | { readonly error: unknown };

type Subscriber = (value: unknown, previous: unknown) => void;

/** Editors and platforms write a file in several steps; one reload follows the last of them. */
const WATCH_SETTLE_MS = 100;
/** What the effective configuration shows in place of a secret that is set. */
const SECRET_SHOWN = "[set]";

function show(field: Field<unknown>, value: unknown): string {
  if (value === undefined) return "";
  return field.secret ? SECRET_SHOWN : field.format(value);
}

/** Holds the checked configuration of a service, and changes the fields declared dynamic while it runs.
 *
 * `current` is replaced as a whole and never changed in place, so a reader sees one consistent state. */
export class ConfigManager<T> {
  readonly service: string;
  /** Variables that carry the service's prefix but are no setting; to be logged as warnings. */
  readonly unknown: readonly string[];
  readonly #fields: Fields;
  readonly #read: () => ReadConfig<Fields>;
  readonly #filePath: string | undefined;
  readonly #subscribers = new Map<string, Set<Subscriber>>();
  readonly #afterReload = new Set<() => void>();
  #current: T;
  #sources: ReadonlyMap<string, ConfigSource>;
  #watcher: FSWatcher | undefined;
  #settle: NodeJS.Timeout | undefined;

  private constructor(schema: ConfigSchema<Fields>, origin: ConfigOrigin) {
    this.service = schema.service;
    this.unknown = unknownVariables(schema, origin.env);
    this.#fields = schema.fields;
    // An empty variable counts as not set, here as for every setting.
    const fromEnv = origin.env[schema.fileEnv];
    this.#filePath = origin.filePath ?? (fromEnv === "" ? undefined : fromEnv);
    this.#read = () => {
      const read = readConfig(schema, origin.env, this.#filePath);
      if (read.problems.length > 0) throw new ConfigError(schema.service, read.problems);
      return read;
    };
    const { values, sources } = this.#read();
    this.#current = Object.freeze(values) as T;
    this.#sources = sources;
  }

  /** Reads and checks the configuration: environment over file over default.
   *
   * Errors: ConfigError naming every problem, with the variable, what is wrong and an example. */
  static load<F extends Fields>(
    schema: ConfigSchema<F>,
    origin: ConfigOrigin,
  ): ConfigManager<ConfigOfFields<F>> {
    return new ConfigManager<ConfigOfFields<F>>(schema as unknown as ConfigSchema<Fields>, origin);
  }

  /** The values now in force. Read dynamic fields from here each time, or subscribe. */
  get current(): T {
    return this.#current;
  }

  /** Returns one value now in force. */
  get<K extends keyof T>(key: K): T[K] {
    return this.#current[key];
  }

  /** Calls `fn` after each change of a dynamic field; returns the function that ends it. Throws a plain Error for
   * a field that is not dynamic, since it would never be called. */
  subscribe<K extends keyof T & string>(
    key: K,
    fn: (value: T[K], previous: T[K]) => void,
  ): () => void {
    if (this.#fields[key]?.dynamic !== true) throw new Error(`${key} is not a dynamic setting.`);
    const subscribers = this.#subscribers.get(key) ?? new Set<Subscriber>();
    this.#subscribers.set(key, subscribers);
    const subscriber = fn as Subscriber;
    subscribers.add(subscriber);
    return () => subscribers.delete(subscriber);
  }

  /** Calls `fn` after each reload that was not refused, whether anything changed or not: for what hangs on files that settings only
   * name. Returns the function that ends it. */
  onReload(fn: () => void): () => void {
    this.#afterReload.add(fn);
    return () => this.#afterReload.delete(fn);
  }

  /** Reads all sources again, puts changed dynamic fields in force and tells their subscribers.
   *
   * Changes of other fields are reported with `applied: false` and ignored. Errors: ConfigError when the new
   * configuration is wrong anywhere; then nothing changes. A subscriber's error passes through after all were told. */
  reload(): readonly ConfigChange[] {
    const { values, sources } = this.#read();
    const previous = this.#current as Record<string, unknown>;
    const next: Record<string, unknown> = { ...previous };
    const nextSources = new Map(this.#sources);
    const changes: ConfigChange[] = [];
    for (const [key, field] of Object.entries(this.#fields)) {
      const value = (values as Record<string, unknown>)[key];
      if (isDeepStrictEqual(value, previous[key])) continue;
      const from = show(field, previous[key]);
      const to = show(field, value);
      changes.push({ key, env: field.env, from, to, applied: field.dynamic });
      if (!field.dynamic) continue;
      next[key] = value;
      nextSources.set(key, sources.get(key) ?? "unset");
    }
    this.#current = Object.freeze(next) as T;
    this.#sources = nextSources;
    this.#notify(changes, previous);
    for (const fn of this.#afterReload) fn();
    return changes;
  }

  /** Reloads whenever the configuration file changes; does nothing without a file. The watch does not keep the
   * process alive. `onReload` hears of every reload, also of refused ones. */
  watch(onReload: (outcome: ReloadOutcome) => void = () => {}): void {
    if (this.#filePath === undefined || this.#watcher !== undefined) return;
    // The folder is watched and not the file: editors and Kubernetes replace the file by a rename.
    const name = basename(this.#filePath);
    this.#watcher = watch(dirname(this.#filePath), { persistent: false }, (_event, changed) => {
      if (changed !== null && changed !== name && !changed.startsWith("..")) return;
      clearTimeout(this.#settle);
      this.#settle = setTimeout(() => onReload(this.#tryReload()), WATCH_SETTLE_MS).unref();
    });
    this.#watcher.on("error", (error) => onReload({ error }));
  }

  /** Returns every setting with its value, secrets redacted, and its source; for `--print-config` and the start log. */
  effective(): readonly EffectiveSetting[] {
    const current = this.#current as Record<string, unknown>;
    return Object.entries(this.#fields).map(([key, field]) => ({
      env: field.env,
      value: show(field, current[key]),
      source: this.#sources.get(key) ?? "unset",
    }));
  }

  /** Ends the file watch and forgets all subscribers. */
  close(): void {
    clearTimeout(this.#settle);
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#subscribers.clear();
    this.#afterReload.clear();
  }

  #tryReload(): ReloadOutcome {
    try {
      return { changes: this.reload() };
    } catch (error) {
      return { error };
    }
  }

  #notify(changes: readonly ConfigChange[], previous: Record<string, unknown>): void {
    const errors: unknown[] = [];
    const current = this.#current as Record<string, unknown>;
    for (const { key } of changes.filter((change) => change.applied)) {
      for (const subscriber of this.#subscribers.get(key) ?? []) {
        try {
          subscriber(current[key], previous[key]);
        } catch (error) {
          errors.push(error);
        }
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, "A configuration subscriber failed.");
  }
}
