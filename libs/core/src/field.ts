/** What every field of a schema is given. */
export interface FieldSpec<T> {
  /** The variable's name: NEXUS_<SERVICE>_<THING>_<UNIT>. */
  readonly env: string;
  /** One or two sentences for docs/config.md: what it does and when to change it. */
  readonly about: string;
  /** Used when no source sets the field. Without it, and without `optional`, the field is required. */
  readonly default?: T;
  /** The field may stay unset and is then undefined. */
  readonly optional?: true;
  /** The field may change while the service runs; whoever uses it subscribes or reads it each time. */
  readonly dynamic?: boolean;
  /** A valid value as it would be written, shown in errors and docs. */
  readonly example?: string;
  /** Name of a group of fields of which either all or none are set, e.g. a certificate and its key. */
  readonly together?: string;
}

/** What parsing a raw value gives: the value, or what is wrong with it (without repeating it, it may be secret). */
export type Parsed<T> = { readonly value: T } | { readonly problem: string };

/** One setting: how it is called, read, checked and shown. Made by the builders `string`, `int`, `port`, ... */
export interface Field<T> {
  /** For docs: `integer`, `duration`, ... */
  readonly type: string;
  readonly env: string;
  readonly about: string;
  readonly defaultValue: T | undefined;
  readonly optional: boolean;
  readonly dynamic: boolean;
  /** Secret values are never shown. */
  readonly secret: boolean;
  /** The value may also come from a file named by `<env>_FILE`. */
  readonly fromFile: boolean;
  readonly example: string;
  readonly together: string | undefined;
  /** For docs: the allowed values in words, e.g. `1..65535`. Empty when there is no limit worth telling. */
  readonly range: string;
  parse(raw: string): Parsed<T>;
  /** Writes a value as parse() reads it. */
  format(value: T): string;
}

/** The fields of a schema by their name in the code. */
export type Fields = Readonly<Record<string, Field<unknown>>>;

/** The type of a field's value: optional fields may be undefined. */
export type ValueOf<S, T> = S extends { readonly optional: true } ? T | undefined : T;

/** What a builder adds to a FieldSpec to make a Field. */
export interface FieldTraits<T> {
  readonly type: string;
  readonly example: string;
  readonly range?: string;
  readonly secret?: boolean;
  readonly fromFile?: boolean;
  parse(raw: string): Parsed<T>;
  format?(value: T): string;
}

const NAME_PATTERN = /^NEXUS_[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*$/;

/** Joins a spec and its type's traits. Throws a plain Error on a programmer's mistake: a wrong name, a field that
 * is optional and has a default, a default that the field itself would refuse. */
export function makeField<T, S extends FieldSpec<T>>(
  spec: S,
  traits: FieldTraits<T>,
): Field<ValueOf<S, T>> {
  if (!NAME_PATTERN.test(spec.env)) {
    throw new Error(`${spec.env} is not of the form NEXUS_<SERVICE>_<THING>_<UNIT>.`);
  }
  if (spec.optional === true && spec.default !== undefined) {
    throw new Error(`${spec.env} has a default, so it cannot be optional.`);
  }
  const format = traits.format?.bind(traits) ?? String;
  if (spec.default !== undefined) {
    const parsed = traits.parse(format(spec.default));
    if ("problem" in parsed) throw new Error(`The default of ${spec.env} ${parsed.problem}.`);
  }
  const field: Field<T> = {
    type: traits.type,
    env: spec.env,
    about: spec.about,
    defaultValue: spec.default,
    optional: spec.optional === true,
    dynamic: spec.dynamic === true,
    secret: traits.secret === true,
    fromFile: traits.fromFile === true,
    example: spec.example ?? traits.example,
    together: spec.together,
    range: traits.range ?? "",
    parse: (raw) => traits.parse(raw),
    format,
  };
  return field;
}
