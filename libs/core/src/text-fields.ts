import { type Field, type FieldSpec, makeField, type ValueOf } from "./field.ts";

/** A text with a length and a form. */
export interface StringSpec extends FieldSpec<string> {
  /** Fewest characters; default 1. */
  readonly min?: number;
  /** Most characters; default 4096. */
  readonly max?: number;
  readonly pattern?: RegExp;
}

/** A secret with a shortest length. */
export interface SecretSpec extends FieldSpec<string> {
  /** Fewest characters; default 1. */
  readonly min?: number;
  /** False: never read from `<env>_FILE`, because a setting of that name reads its file with care of its own. */
  readonly fromFile?: false;
}

/** A URL with its allowed schemes. */
export interface UrlSpec extends FieldSpec<string> {
  /** Allowed schemes without the colon; default `http` and `https`. */
  readonly schemes?: readonly string[];
}

/** One of a closed set of words. */
export interface OneOfSpec extends FieldSpec<string> {
  readonly values: readonly string[];
}

/** A comma-separated list. */
export interface ListSpec extends FieldSpec<readonly string[]> {
  /** Fewest items; default 0. */
  readonly min?: number;
  /** Most items; default 256. */
  readonly max?: number;
}

const TEXT_LENGTH_MAX = 4_096;
const LIST_LENGTH_MAX = 256;
const TRUE_WORDS = new Set(["true", "1", "yes", "on"]);
const FALSE_WORDS = new Set(["false", "0", "no", "off"]);

/** A text. */
export function string<const S extends StringSpec>(spec: S): Field<ValueOf<S, string>> {
  const min = spec.min ?? 1;
  const max = spec.max ?? TEXT_LENGTH_MAX;
  return makeField<string, S>(spec, {
    type: "text",
    example: spec.default ?? "text",
    range: spec.pattern === undefined ? "" : `matches ${spec.pattern.source}`,
    parse(raw) {
      if (raw.length < min) return { problem: `must have at least ${min} characters` };
      if (raw.length > max) return { problem: `must have at most ${max} characters` };
      if (spec.pattern !== undefined && !spec.pattern.test(raw)) {
        return { problem: `must match ${spec.pattern.source}` };
      }
      return { value: raw };
    },
  });
}

/** A text that is never shown: not in errors, not in the effective configuration, not in logs.
 *
 * It may also be read from the file whose path is in `<env>_FILE`, as container platforms mount secrets. */
export function secret<const S extends SecretSpec>(spec: S): Field<ValueOf<S, string>> {
  const min = spec.min ?? 1;
  return makeField<string, S>(spec, {
    type: "secret",
    example: `(at least ${min} characters)`,
    range: min > 1 ? `at least ${min} characters` : "",
    secret: true,
    fromFile: spec.fromFile ?? true,
    parse(raw) {
      if (raw.length < min) return { problem: "is set, but too short" };
      return { value: raw };
    },
  });
}

/** A URL; without credentials, which belong into a secret. */
export function url<const S extends UrlSpec>(spec: S): Field<ValueOf<S, string>> {
  const schemes = spec.schemes ?? ["http", "https"];
  return makeField<string, S>(spec, {
    type: "URL",
    example: spec.default ?? `${schemes[0] ?? "http"}://127.0.0.1:4318`,
    range: schemes.map((scheme) => `${scheme}://`).join(" or "),
    parse(raw) {
      const parsed = URL.canParse(raw) ? new URL(raw) : undefined;
      if (parsed === undefined || !schemes.includes(parsed.protocol.slice(0, -1))) {
        return { problem: `must be a URL that starts with ${schemes.join(":// or ")}://` };
      }
      if (parsed.password !== "") return { problem: "must not hold a password" };
      return { value: raw };
    },
  });
}

/** One of the given words. */
export function oneOf<const S extends OneOfSpec>(spec: S): Field<ValueOf<S, S["values"][number]>> {
  return makeField<S["values"][number], S>(spec, {
    type: "choice",
    example: spec.default ?? spec.values[0] ?? "",
    range: spec.values.join(", "),
    parse(raw) {
      if (spec.values.includes(raw)) return { value: raw };
      return { problem: `must be one of ${spec.values.join(", ")}` };
    },
  });
}

/** True or false: `true 1 yes on` or `false 0 no off`. */
export function bool<const S extends FieldSpec<boolean>>(spec: S): Field<ValueOf<S, boolean>> {
  return makeField<boolean, S>(spec, {
    type: "boolean",
    example: String(spec.default ?? true),
    parse(raw) {
      const word = raw.toLowerCase();
      if (TRUE_WORDS.has(word)) return { value: true };
      if (FALSE_WORDS.has(word)) return { value: false };
      return { problem: "must be true or false" };
    },
  });
}

/** Words between commas; spaces around them and empty ones are dropped. */
export function list<const S extends ListSpec>(spec: S): Field<ValueOf<S, readonly string[]>> {
  const min = spec.min ?? 0;
  const max = spec.max ?? LIST_LENGTH_MAX;
  return makeField<readonly string[], S>(spec, {
    type: "list",
    example: "a,b",
    parse(raw) {
      const items = raw
        .split(",")
        .map((item) => item.trim())
        .filter((item) => item !== "");
      if (items.length < min) return { problem: `must have at least ${min} items` };
      if (items.length > max) return { problem: `must have at most ${max} items` };
      return { value: items };
    },
    format: (value) => value.join(","),
  });
}
