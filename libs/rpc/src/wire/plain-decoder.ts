/** Reads messages with a plan made once for each type, several times as fast as fromBinary(), which asks reflection about every field of
 * every message and a TextDecoder about every text. Makes the same objects; a test compares the two. */
import {
  create,
  type DescField,
  type DescMessage,
  type DescOneof,
  type MessageShape,
  ScalarType,
} from "@bufbuild/protobuf";
import { scalarZeroValue } from "@bufbuild/protobuf/reflect";
import { Edition } from "@bufbuild/protobuf/wkt";
import { copyAny, takeOwnCopy } from "./own-copies.ts";
import { FIXED64, LENGTH, VARINT, WireError, WireReader } from "./wire-reader.ts";

/** As in protobuf-es. */
const DEPTH_MAX = 100;
/** Messages of a type after which it has a copy function of its own. */
const OWN_COPY_AFTER = 500;
/** Types that protobuf-es shows as something else: bare values, or JSON. */
const SPECIAL = /^google\.protobuf\.(Struct|Value|ListValue|Any|\w+Value)$/;

type Target = Record<string, unknown>;
/** `last` is the item before this one in its list: its texts are mostly this one's too, and to compare takes less than to make one. */
type ReadField = (reader: PlanReader, target: Target, last?: Target) => void;

/** How one type is read. */
interface Plan {
  /** A message without anything in it, but for what has to be made anew for each. */
  readonly zero: Target;
  copy: typeof copyAny;
  /** Messages of the type that were made, until it has a copy of its own. */
  made: number;
  /** Names of lists, maps and oneofs, and what makes an empty one. */
  readonly fresh: readonly (readonly [string, () => unknown])[];
  /** By field number; ours are small. */
  readonly fields: readonly (ReadField | undefined)[];
}

/** How values of a scalar type are read. Types that our contracts do not have are absent. */
interface Scalar {
  readonly wireType: number;
  readonly read: (reader: WireReader) => unknown;
}

const SCALARS: ReadonlyMap<ScalarType, Scalar> = new Map<ScalarType, Scalar>([
  [ScalarType.STRING, { wireType: LENGTH, read: (reader) => reader.text() }],
  [ScalarType.BYTES, { wireType: LENGTH, read: (reader) => reader.bytes() }],
  [ScalarType.BOOL, { wireType: VARINT, read: (reader) => reader.bool() }],
  [ScalarType.INT32, { wireType: VARINT, read: (reader) => reader.int32() }],
  [ScalarType.INT64, { wireType: VARINT, read: (reader) => reader.int64() }],
  [ScalarType.UINT32, { wireType: VARINT, read: (reader) => reader.uint32() }],
  [ScalarType.UINT64, { wireType: VARINT, read: (reader) => reader.uint64() }],
  [ScalarType.DOUBLE, { wireType: FIXED64, read: (reader) => reader.double() }],
]);

const plans = new Map<DescMessage, Plan>();
const plain = new Map<DescMessage, boolean>();

/** Reads a message; undefined when its type, or one inside it, has what plans have not: another syntax than proto3, rarer kinds of numbers,
 * maps by anything but texts, wrappers, JSON values.
 *
 * Errors: WireError for bytes that are no such message. */
export function tryDecodePlain<D extends DescMessage>(
  schema: D,
  bytes: Buffer,
): MessageShape<D> | undefined {
  if (!isPlain(schema)) return undefined;
  const plan = planOf(schema);
  const target = newTarget(plan);
  readInto(plan, new PlanReader(bytes), target);
  return target as MessageShape<D>;
}

/** Says whether a type, and all that it holds, has only what plans have. */
export function isPlain(schema: DescMessage): boolean {
  let known = plain.get(schema);
  if (known === undefined) {
    // Types may hold themselves: for the time of the look they count as plain.
    plain.set(schema, true);
    known =
      schema.file.edition === Edition.EDITION_PROTO3 &&
      !SPECIAL.test(schema.typeName) &&
      schema.fields.every(isPlainField);
    // One that is not makes all that hold it so, also those that were looked at meanwhile.
    if (!known) plain.clear();
    plain.set(schema, known);
  }
  return known;
}

function isPlainField(field: DescField): boolean {
  if (field.fieldKind === "map" && field.mapKey !== ScalarType.STRING) return false;
  if (field.message !== undefined) return isPlain(field.message);
  if (field.scalar === undefined) return true;
  return SCALARS.has(field.scalar) && !(field.fieldKind === "scalar" && field.longAsString);
}

function planOf(schema: DescMessage): Plan {
  const known = plans.get(schema);
  if (known !== undefined) return known;
  const fields: (ReadField | undefined)[] = [];
  const plan: Plan = {
    zero: zeroOf(schema),
    copy: copyAny,
    made: 0,
    fresh: schema.members.flatMap(freshMember),
    fields,
  };
  plans.set(schema, plan);
  for (const field of schema.fields) fields[field.number] = fieldReader(field);
  return plan;
}

/** All fields have their place from the start, those that are not set too: an object that gets fields one by one, under names that come
 * from a table, is slow to make. */
function zeroOf(schema: DescMessage): Target {
  const unset = schema.fields.filter(({ oneof }) => oneof === undefined);
  const places = Object.fromEntries(unset.map(({ localName }) => [localName, undefined]));
  return { $typeName: schema.typeName, ...places, ...(create(schema) as unknown as Target) };
}

function freshMember(member: DescField | DescOneof): [string, () => unknown][] {
  if (member.kind === "oneof") return [[member.localName, () => ({ case: undefined })]];
  if (member.fieldKind === "list") return [[member.localName, () => []]];
  if (member.fieldKind === "map") return [[member.localName, () => ({})]];
  return [];
}

function newTarget(plan: Plan): Target {
  if (plan.made < OWN_COPY_AFTER) count(plan);
  const target = plan.copy(plan.zero);
  for (const [name, make] of plan.fresh) target[name] = make();
  return target;
}

function count(plan: Plan): void {
  plan.made += 1;
  if (plan.made === OWN_COPY_AFTER) plan.copy = takeOwnCopy();
}

/** A cursor that knows how deep it is. */
class PlanReader extends WireReader {
  depth = 1;

  enterNested(): number {
    if (this.depth === DEPTH_MAX) {
      throw new WireError(`messages are nested more than ${DEPTH_MAX} deep`);
    }
    this.depth += 1;
    return this.enter();
  }

  leaveNested(outer: number): void {
    this.depth -= 1;
    this.leave(outer);
  }
}

function readInto(plan: Plan, reader: PlanReader, target: Target, last?: Target): void {
  while (reader.next()) {
    const read = plan.fields[reader.field];
    if (read === undefined) reader.skip();
    else read(reader, target, last);
  }
}

function fieldReader(field: DescField): ReadField {
  if (field.fieldKind === "list") return listReader(field);
  if (field.fieldKind === "map") return mapReader(field);
  if (field.fieldKind === "message") return messageReader(field);
  const { localName: name, oneof } = field;
  if (field.scalar === ScalarType.STRING && oneof === undefined) return textReader(name);
  const { read, wireType } = scalarOf(field.scalar);
  return (reader, target) => {
    expectType(reader, wireType);
    if (oneof === undefined) target[name] = read(reader);
    else target[oneof.localName] = { case: name, value: read(reader) };
  };
}

function textReader(name: string): ReadField {
  return (reader, target, last) => {
    expectType(reader, LENGTH);
    const known = last?.[name];
    target[name] = typeof known === "string" && reader.passSameText(known) ? known : reader.text();
  };
}

/** Enums are read as the numbers that they are. */
function scalarOf(type: ScalarType = ScalarType.INT32): Scalar {
  const scalar = SCALARS.get(type);
  if (scalar === undefined) throw new TypeError(`no plan has the scalar type ${type}`);
  return scalar;
}

function expectType({ field, type }: WireReader, wanted: number): void {
  if (type !== wanted) throw new WireError(`field ${field} has the wrong type`);
}

function readNested(plan: Plan, reader: PlanReader, target: Target, last?: Target): Target {
  expectType(reader, LENGTH);
  const outer = reader.enterNested();
  readInto(plan, reader, target, last);
  reader.leaveNested(outer);
  return target;
}

/** A message that comes twice is one message: the second is read into the first. */
function messageReader(field: DescField & { fieldKind: "message" }): ReadField {
  const { localName: name, oneof } = field;
  const plan = planOf(field.message);
  if (oneof === undefined) {
    return (reader, target, last) => {
      const found = (target[name] as Target | undefined) ?? newTarget(plan);
      target[name] = readNested(plan, reader, found, last?.[name] as Target | undefined);
    };
  }
  return (reader, target) => {
    const chosen = target[oneof.localName] as { case: string | undefined; value?: unknown };
    const found = chosen.case === name ? (chosen.value as Target) : newTarget(plan);
    target[oneof.localName] = { case: name, value: readNested(plan, reader, found) };
  };
}

/** Numbers may come one by one or packed, whatever the contract says. */
function listReader(field: DescField & { fieldKind: "list" }): ReadField {
  const { localName: name } = field;
  if (field.listKind === "message") {
    const plan = planOf(field.message);
    return (reader, target) => {
      const list = target[name] as Target[];
      list.push(readNested(plan, reader, newTarget(plan), list.at(-1)));
    };
  }
  const { read, wireType } = scalarOf(field.scalar);
  return (reader, target) => {
    const list = target[name] as unknown[];
    if (reader.type === wireType) {
      list.push(read(reader));
      return;
    }
    expectType(reader, LENGTH);
    const outer = reader.enter();
    while (!reader.atEnd) list.push(read(reader));
    reader.leave(outer);
  };
}

/** Entries are messages with the key in field 1 and the value in field 2. */
function mapReader(field: DescField & { fieldKind: "map" }): ReadField {
  const { localName: name } = field;
  const read = entryValueReader(field);
  return (reader, target) => {
    expectType(reader, LENGTH);
    const outer = reader.enterNested();
    let key = "";
    let value: unknown;
    while (reader.next()) {
      if (reader.field === 1) {
        expectType(reader, LENGTH);
        key = reader.text();
      } else if (reader.field === 2) value = read.value(reader);
      else reader.skip();
    }
    reader.leaveNested(outer);
    setEntry(target[name] as Target, key, value ?? read.zero());
  };
}

/** How the values of a map are read, and what an entry without one has. */
interface EntryValueReader {
  readonly value: (reader: PlanReader) => unknown;
  readonly zero: () => unknown;
}

function entryValueReader(field: DescField & { fieldKind: "map" }): EntryValueReader {
  if (field.mapKind === "message") {
    const plan = planOf(field.message);
    return {
      value: (reader) => readNested(plan, reader, newTarget(plan)),
      zero: () => newTarget(plan),
    };
  }
  const { read, wireType } = scalarOf(field.scalar);
  const zero = field.mapKind === "scalar" ? scalarZeroValue(field.scalar, false) : 0;
  return {
    value: (reader) => {
      expectType(reader, wireType);
      return read(reader);
    },
    zero: () => zero,
  };
}

/** A key may be any text, also the name under which objects have their prototype. */
function setEntry(map: Target, key: string, value: unknown): void {
  if (key !== "__proto__") {
    map[key] = value;
    return;
  }
  const entry = { value, enumerable: true, configurable: true, writable: true };
  Object.defineProperty(map, key, entry);
}
