/** The most common rules of contracts as plain comparisons, compiled once for each type.
 *
 * They only ever say that a message is fine: what breaks one, and what has rules of other kinds, goes to protovalidate, which decides and
 * words the violations. That costs some ten times as much, and nearly all messages are fine. A test compares the two. */
import {
  type DescField,
  type DescMessage,
  type DescOneof,
  getOption,
  hasOption,
  isFieldSet,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import {
  BytesRulesSchema,
  DoubleRulesSchema,
  DurationRulesSchema,
  type EnumRules,
  EnumRulesSchema,
  type FieldRules,
  FieldRulesSchema,
  field as fieldOption,
  Int32RulesSchema,
  Int64RulesSchema,
  type MapRules,
  MapRulesSchema,
  message as messageOption,
  oneof as oneofOption,
  type RepeatedRules,
  RepeatedRulesSchema,
  type StringRules,
  StringRulesSchema,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

type Target = Record<string, unknown>;
type Check = (value: unknown) => boolean;

const NEVER: Check = () => false;
const NOTHING: Check = () => true;
const NS_PER_S = 1e9;

const checks = new Map<DescMessage, Check[]>();

/** Says whether a message surely keeps all rules of the contract; false says nothing. */
export function surelyValid(schema: DescMessage, message: Message): boolean {
  return holds(checksOf(schema), message);
}

function holds(all: readonly Check[], value: unknown): boolean {
  for (const check of all) if (!check(value)) return false;
  return true;
}

/** Types may hold themselves, so the list is known before it is filled. */
function checksOf(schema: DescMessage): Check[] {
  const known = checks.get(schema);
  if (known !== undefined) return known;
  const list: Check[] = [];
  checks.set(schema, list);
  if (schema.proto.options !== undefined && hasOption(schema, messageOption)) list.push(NEVER);
  for (const member of schema.members) {
    const check = member.kind === "oneof" ? oneofCheck(member) : fieldCheck(member);
    if (check !== NOTHING) list.push(check);
  }
  return list;
}

function oneofCheck(oneof: DescOneof): Check {
  const hasRules = oneof.proto.options !== undefined && hasOption(oneof, oneofOption);
  const isRequired = hasRules && getOption(oneof, oneofOption).required;
  if (oneof.fields.some((field) => rulesOf(field)?.required === true)) return NEVER;
  const byCase = new Map(oneof.fields.map((field) => [field.localName, valueCheck(field)]));
  return (message) => {
    const chosen = (message as Target)[oneof.localName] as { case?: string; value?: unknown };
    if (chosen.case === undefined) return !isRequired;
    return byCase.get(chosen.case)?.(chosen.value) ?? false;
  };
}

/** A field with presence is checked when it is set, one without always. */
function fieldCheck(field: DescField): Check {
  const { localName: name } = field;
  const check = valueCheck(field);
  const tracked = field.fieldKind === "message" || isOptional(field);
  const isRequired = rulesOf(field)?.required === true;
  // What "required" means for lists, maps and plain numbers protovalidate knows.
  if (isRequired && !tracked) return NEVER;
  if (!tracked) return check === NOTHING ? NOTHING : (message) => check((message as Target)[name]);
  if (check === NOTHING && !isRequired) return NOTHING;
  return (message) => {
    const value = (message as Target)[name];
    return value === undefined ? !isRequired : check(value);
  };
}

function isOptional(field: DescField): boolean {
  return field.proto.proto3Optional;
}

function rulesOf(field: DescField): FieldRules | undefined {
  const hasRules = field.proto.options !== undefined && hasOption(field, fieldOption);
  return hasRules ? getOption(field, fieldOption) : undefined;
}

function valueCheck(field: DescField): Check {
  const rules = rulesOf(field);
  const own = rules === undefined ? NOTHING : ruleCheck(rules, field);
  const inner = innerCheck(field);
  return both(own, inner);
}

/** What is inside a message, or the messages of a list. */
function innerCheck(field: DescField): Check {
  if (field.message === undefined) return NOTHING;
  if (field.fieldKind === "map") return NEVER;
  const inner = checksOf(field.message);
  if (field.fieldKind !== "list") return (value) => holds(inner, value);
  return (list) => {
    for (const item of list as readonly unknown[]) if (!holds(inner, item)) return false;
    return true;
  };
}

function ruleCheck(rules: FieldRules, field: DescField): Check {
  if (!setsOnly(FieldRulesSchema, rules, ["required", rules.type.case ?? ""])) return NEVER;
  const { type } = rules;
  switch (type.case) {
    case undefined:
      return NOTHING;
    case "string":
      return setsOnly(StringRulesSchema, type.value, TEXT_RULES) ? textCheck(type.value) : NEVER;
    case "bytes":
      return setsOnly(BytesRulesSchema, type.value, ["len", "minLen", "maxLen", "example"])
        ? bytesCheck(type.value)
        : NEVER;
    case "int32":
      return setsOnly(Int32RulesSchema, type.value, BOUNDS) ? rangeCheck(type.value) : NEVER;
    case "int64":
      return setsOnly(Int64RulesSchema, type.value, BOUNDS) ? rangeCheck(type.value) : NEVER;
    case "double":
      return setsOnly(DoubleRulesSchema, type.value, BOUNDS) ? rangeCheck(type.value) : NEVER;
    case "duration":
      return setsOnly(DurationRulesSchema, type.value, BOUNDS) ? durationCheck(type.value) : NEVER;
    case "enum":
      return setsOnly(EnumRulesSchema, type.value, ["definedOnly", "notIn"])
        ? enumCheck(type.value, field)
        : NEVER;
    case "repeated":
      return setsOnly(RepeatedRulesSchema, type.value, ["minItems", "maxItems", "items", "unique"])
        ? listCheck(type.value, field)
        : NEVER;
    case "map":
      return setsOnly(MapRulesSchema, type.value, ["minPairs", "maxPairs", "keys", "values"])
        ? mapCheck(type.value, field)
        : NEVER;
    default:
      return NEVER;
  }
}

const TEXT_RULES = ["minLen", "maxLen", "minBytes", "maxBytes", "pattern", "example"];
const BOUNDS = ["lt", "lte", "gt", "gte", "example"];

/** Says whether rules have nothing but these, no extensions either. */
function setsOnly(schema: DescMessage, rules: Message, known: readonly string[]): boolean {
  if ((rules.$unknown?.length ?? 0) > 0) return false;
  return schema.fields.every(
    (field) => known.includes(field.localName) || !isFieldSet(rules, field),
  );
}

/** A limit of a rule; undefined when it is not set. */
function limitOf(schema: DescMessage, rules: Message, name: string): number | undefined {
  const field = schema.field[name];
  if (field === undefined || !isFieldSet(rules, field)) return undefined;
  return Number((rules as unknown as Target)[name]);
}

/** Lengths are in characters, of which a text has at most its number of UTF-16 units and at least half of it. */
function textCheck(rules: StringRules): Check {
  const length = both(textLengthCheck(rules), textBytesCheck(rules));
  if (!isFieldSet(rules, StringRulesSchema.field.pattern)) return length;
  if (!PLAIN_PATTERN.test(rules.pattern)) return NEVER;
  const pattern = new RegExp(rules.pattern, "u");
  return (value) => length(value) && pattern.test(value as string);
}

/** A pattern for the whole text without groups and alternatives: it means the same to both engines, and takes no longer than the text
 * is long. */
const PLAIN_PATTERN = /^\^[^()|\\^$]*\$$/;

function textLengthCheck(rules: StringRules): Check {
  const min = limitOf(StringRulesSchema, rules, "minLen") ?? 0;
  const max = limitOf(StringRulesSchema, rules, "maxLen") ?? Number.POSITIVE_INFINITY;
  return lengthCheck(Math.max(0, min * 2 - 1), max);
}

/** A UTF-16 unit takes one to three bytes in UTF-8: only a text near a limit is measured. */
const UTF8_UNIT_BYTES_MAX = 3;

function textBytesCheck(rules: StringRules): Check {
  const min = limitOf(StringRulesSchema, rules, "minBytes") ?? 0;
  const max = limitOf(StringRulesSchema, rules, "maxBytes") ?? Number.POSITIVE_INFINITY;
  if (min === 0 && max === Number.POSITIVE_INFINITY) return NOTHING;
  return (value) => {
    const text = value as string;
    if (text.length >= min && text.length * UTF8_UNIT_BYTES_MAX <= max) return true;
    const bytes = Buffer.byteLength(text);
    return bytes >= min && bytes <= max;
  };
}

function both(first: Check, second: Check): Check {
  if (first === NOTHING) return second;
  return second === NOTHING ? first : (value) => first(value) && second(value);
}

function lengthCheck(min: number, max: number): Check {
  return (value) => {
    const { length } = value as { readonly length: number };
    return length >= min && length <= max;
  };
}

function bytesCheck(rules: Message): Check {
  const exact = limitOf(BytesRulesSchema, rules, "len");
  const min = exact ?? limitOf(BytesRulesSchema, rules, "minLen") ?? 0;
  const max = exact ?? limitOf(BytesRulesSchema, rules, "maxLen") ?? Number.POSITIVE_INFINITY;
  return lengthCheck(min, max);
}

/** Bounds of a number or a duration. */
interface Bounds<T> {
  readonly greaterThan: { readonly case: string | undefined; readonly value?: T | undefined };
  readonly lessThan: { readonly case: string | undefined; readonly value?: T | undefined };
}

function rangeCheck({ greaterThan, lessThan }: Bounds<number | bigint>): Check {
  const { value: low } = greaterThan;
  const { value: high } = lessThan;
  // Then the rule means what is outside.
  if (low !== undefined && high !== undefined && low >= high) return NEVER;
  const isAboveLow = greaterThan.case === "gt";
  const isBelowHigh = lessThan.case === "lt";
  return (value) => {
    const number = value as number | bigint;
    if (low !== undefined && !(isAboveLow ? number > low : number >= low)) return false;
    return high === undefined || (isBelowHigh ? number < high : number <= high);
  };
}

interface Seconds {
  readonly seconds: bigint;
  readonly nanos: number;
}

/** In doubles, so that a duration at a bound is left to protovalidate. */
function durationCheck({ greaterThan, lessThan }: Bounds<Seconds>): Check {
  const low =
    greaterThan.value === undefined ? Number.NEGATIVE_INFINITY : secondsOf(greaterThan.value);
  const high = lessThan.value === undefined ? Number.POSITIVE_INFINITY : secondsOf(lessThan.value);
  return (duration) => {
    const { seconds, nanos } = duration as Seconds;
    // Others are no durations, or below nothing.
    if (seconds < 0n || nanos < 0 || nanos >= NS_PER_S) return false;
    const length = secondsOf(duration as Seconds);
    return length > low && length < high;
  };
}

function secondsOf({ seconds, nanos }: Seconds): number {
  return Number(seconds) + nanos / NS_PER_S;
}

/** Only numbers that the contract names: whether others are fine is left to protovalidate. */
function enumCheck({ notIn }: EnumRules, field: DescField): Check {
  const numbers = field.enum?.values.map(({ number }) => number) ?? [];
  const allowed = new Set<unknown>(numbers.filter((number) => !notIn.includes(number)));
  return (value) => allowed.has(value);
}

function listCheck(rules: RepeatedRules, field: DescField): Check {
  const max = limitOf(RepeatedRulesSchema, rules, "maxItems") ?? Number.POSITIVE_INFINITY;
  const length = lengthCheck(limitOf(RepeatedRulesSchema, rules, "minItems") ?? 0, max);
  const own = rules.unique ? both(length, uniqueCheck(field)) : length;
  const item = rules.items === undefined ? NOTHING : ruleCheck(rules.items, field);
  if (item === NOTHING) return own;
  return (list) => {
    if (!own(list)) return false;
    for (const each of list as readonly unknown[]) if (!item(each)) return false;
    return true;
  };
}

/** Behind the length, which bounds the set. What else than texts is the same is left to protovalidate. */
function uniqueCheck(field: DescField): Check {
  if (field.scalar !== ScalarType.STRING) return NEVER;
  return (list) => new Set(list as readonly string[]).size === (list as readonly string[]).length;
}

function mapCheck(rules: MapRules, field: DescField): Check {
  // Other keys are texts in memory and something else in the rules.
  if (field.fieldKind !== "map" || field.mapKey !== ScalarType.STRING) return NEVER;
  const min = limitOf(MapRulesSchema, rules, "minPairs") ?? 0;
  const max = limitOf(MapRulesSchema, rules, "maxPairs") ?? Number.POSITIVE_INFINITY;
  const key = rules.keys === undefined ? NOTHING : ruleCheck(rules.keys, field);
  const value = rules.values === undefined ? NOTHING : ruleCheck(rules.values, field);
  return (map) => {
    const entries = Object.entries(map as Target);
    if (entries.length < min || entries.length > max) return false;
    for (const [name, content] of entries) if (!key(name) || !value(content)) return false;
    return true;
  };
}
