import { type DescField, type DescMessage, getOption, type Message } from "@bufbuild/protobuf";
import { AuditRule, audit } from "@nexus/proto/common";

/** A keyed digest of a value; undefined when there is no key. */
export type HashValue = (value: string | Uint8Array) => Buffer | undefined;

/** What of a message goes into an entry. */
export interface Summary {
  readonly resource: string;
  readonly fields: { readonly name: string; readonly value: string }[];
}

/** How to summarise. */
export interface SummaryOptions {
  readonly hash: HashValue;
  /** True for a call that failed because of what it named: its names are digested, too. */
  readonly distrusted: boolean;
}

/** Fields of one entry, and characters of one value. With 32 of them an entry stays below 16 KiB. */
const FIELDS_MAX = 32;
const VALUE_CHARACTERS_MAX = 256;
const LIST_ITEMS_MAX = 64;
/** Levels of messages in messages. */
const DEPTH_MAX = 3;
const DIGEST_BYTES = 16;
const REDACTED = "[redacted]";
/** Names the call by itself; it has a place of its own in an entry. */
const REQUEST_ID = "request_id";

/** Shortens a caller's text to what an entry may hold. */
export function cut(text: string): string {
  return text.length <= VALUE_CHARACTERS_MAX ? text : `${text.slice(0, VALUE_CHARACTERS_MAX)}…`;
}

/** The form of a digest in an entry. */
export function formatDigest(digest: Buffer | undefined): string {
  return digest === undefined
    ? REDACTED
    : `hmac:${digest.subarray(0, DIGEST_BYTES).toString("hex")}`;
}

/** Reads what the contract lets be kept of a message. What it says nothing of is redacted.
 *
 * The rules are the options of the fields, so a new field is secret until somebody decides otherwise, in the contract. */
export function summarise(schema: DescMessage, message: Message, options: SummaryOptions): Summary {
  const summary = { resource: "", fields: [] as { name: string; value: string }[] };
  addFields(summary, { schema, message, prefix: "", depth: 1 }, options);
  return summary;
}

interface Part {
  readonly schema: DescMessage;
  readonly message: Message;
  readonly prefix: string;
  readonly depth: number;
}

interface Growing {
  resource: string;
  fields: { name: string; value: string }[];
}

function addFields(into: Growing, part: Part, options: SummaryOptions): void {
  for (const field of part.schema.fields) {
    if (field.name === REQUEST_ID || into.fields.length >= FIELDS_MAX) continue;
    const value = valueOf(part.message, field);
    if (value === undefined) continue;
    const rule = ruleOf(field);
    const nested = nestedOf(field, rule, value);
    if (nested !== undefined && part.depth < DEPTH_MAX) {
      const prefix = `${part.prefix}${field.name}.`;
      addFields(into, { ...nested, prefix, depth: part.depth + 1 }, options);
      continue;
    }
    const text = textOf(field, value, { rule, ...options });
    if (rule === AuditRule.RESOURCE) into.resource = text;
    else into.fields.push({ name: part.prefix + field.name, value: text });
  }
}

/** Contracts do not change while a service runs, and to read an option anew for each field of each call is a twentieth of what vault
 * does for a grant. */
const rules = new WeakMap<DescField, AuditRule>();

function ruleOf(field: DescField): AuditRule {
  let rule = rules.get(field);
  if (rule === undefined) {
    const { options } = field.proto;
    rule = options === undefined ? AuditRule.UNSPECIFIED : getOption(field, audit);
    rules.set(field, rule);
  }
  return rule;
}

/** The value of a field that is there; a default is as good as nothing. */
function valueOf(message: Message, field: DescField): unknown {
  const { localName, oneof } = field;
  const holder = message as unknown as Record<string, unknown>;
  if (oneof !== undefined) {
    const chosen = holder[oneof.localName] as { case?: string; value?: unknown } | undefined;
    return chosen?.case === localName ? chosen.value : undefined;
  }
  const value = holder[localName];
  const isEmpty =
    value === undefined ||
    value === "" ||
    value === 0 ||
    value === 0n ||
    value === false ||
    (value instanceof Uint8Array && value.byteLength === 0) ||
    sizeOf(value, field) === 0;
  return isEmpty ? undefined : value;
}

/** Entries of a list or map; undefined for anything else. */
function sizeOf(value: unknown, field?: DescField): number | undefined {
  if (Array.isArray(value)) return value.length;
  return field?.fieldKind === "map" ? Object.keys(value as object).length : undefined;
}

function nestedOf(field: DescField, rule: AuditRule, value: unknown) {
  const isKept = rule === AuditRule.KEEP && field.fieldKind === "message";
  if (!isKept || isMoment(field.message)) return undefined;
  return { schema: field.message, message: value as Message };
}

/** A timestamp or a duration. */
function isMoment({ typeName }: DescMessage): boolean {
  return typeName === "google.protobuf.Timestamp" || typeName === "google.protobuf.Duration";
}

function textOf(
  field: DescField,
  value: unknown,
  { rule, hash, distrusted }: SummaryOptions & { readonly rule: AuditRule },
): string {
  if (rule === AuditRule.HASH) return formatDigest(hash(bytesOf(value)));
  if (rule !== AuditRule.KEEP && rule !== AuditRule.RESOURCE) {
    const size = sizeOf(value, field);
    return size === undefined ? REDACTED : `[${size}]`;
  }
  const plain = plainText(field, value);
  if (plain === undefined) return REDACTED;
  return distrusted && isFreeText(field) ? formatDigest(hash(plain)) : cut(plain);
}

/** A caller can write anything into it; into a number or an enum it cannot. */
function isFreeText(field: DescField): boolean {
  return "scalar" in field && field.scalar !== undefined && field.enum === undefined
    ? !NUMBERS.has(field.scalar)
    : false;
}

/** ScalarType of everything but string (9) and bytes (12). */
const NUMBERS: ReadonlySet<number> = new Set([1, 2, 3, 4, 5, 6, 7, 8, 13, 15, 16, 17, 18]);

function bytesOf(value: unknown): string | Uint8Array {
  if (value instanceof Uint8Array) return value;
  return typeof value === "string" ? value : JSON.stringify(value);
}

function plainText(field: DescField, value: unknown): string | undefined {
  if (Array.isArray(value)) {
    if (value.some((item) => typeof item === "object")) return `[${value.length}]`;
    const rest = value.length > LIST_ITEMS_MAX ? ` and ${value.length - LIST_ITEMS_MAX} more` : "";
    return value.slice(0, LIST_ITEMS_MAX).join(" ") + rest;
  }
  if (field.fieldKind === "enum") return field.enum.value[value as number]?.name ?? String(value);
  if (field.fieldKind === "message") {
    const { seconds = 0n } = value as { seconds?: bigint };
    return `${seconds} s`;
  }
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  const isPlain = ["string", "number", "bigint", "boolean"].includes(typeof value);
  return isPlain ? String(value) : undefined;
}
