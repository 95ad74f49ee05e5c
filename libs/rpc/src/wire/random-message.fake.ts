/** Messages of any type with something in every kind of field, for tests that compare two ways to treat them. */
import {
  create,
  type DescField,
  type DescMessage,
  type DescService,
  type MessageShape,
  ScalarType,
} from "@bufbuild/protobuf";
import * as common from "@nexus/proto/common";
import * as gateway from "@nexus/proto/gateway";
import * as insight from "@nexus/proto/insight";
import * as mesh from "@nexus/proto/mesh";
import * as orchestrator from "@nexus/proto/orchestrator";
import * as registry from "@nexus/proto/registry";
import * as vault from "@nexus/proto/vault";

const DEPTH_MAX = 5;
const ITEMS_MAX = 3;
/** Around the limits that contracts set most often. */
const LENGTHS = [0, 1, 2, 63, 64, 65, 127, 128, 129, 512, 513];
const CHARACTERS = ["a", "Z_9", "ü", "😀"];
const NUMBERS = [0, 1, -1, 2, 100, 1_000, 1_001, 2 ** 31 - 1, -(2 ** 31)];
const LONGS = [0n, 1n, -1n, 2n ** 40n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)];
const DOUBLES = [0, 0.5, 1, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 1e300];

/** Returns a number from 0 up to, not including, `below`. */
export type Pick = (below: number) => number;

/** Every message that a method of NEXUS takes or gives. */
export function contractMessages(): DescMessage[] {
  const modules = [common, gateway, insight, mesh, orchestrator, registry, vault];
  const services = modules.flatMap((module) => Object.values(module)).filter(isService);
  const found = services.flatMap(({ methods }) => methods.flatMap((m) => [m.input, m.output]));
  return [...new Set(found)];
}

function isService(value: unknown): value is DescService {
  return (value as { kind?: unknown } | undefined)?.kind === "service";
}

/** Makes numbers that look random and are the same for the same seed (mulberry32). */
export function pickFrom(seed: number): Pick {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * below);
  };
}

/** Makes a message; about a third of its fields stay unset. */
export function randomMessage<D extends DescMessage>(
  schema: D,
  pick: Pick,
  depth = 0,
): MessageShape<D> {
  const message = create(schema);
  const target = message as unknown as Record<string, unknown>;
  for (const field of schema.fields) {
    if (pick(3) === 0) continue;
    const value = randomValue(field, pick, depth);
    if (value === undefined) continue;
    const { oneof, localName } = field;
    if (oneof === undefined) target[localName] = value;
    else target[oneof.localName] = { case: localName, value };
  }
  return message;
}

function randomValue(field: DescField, pick: Pick, depth: number): unknown {
  if (field.fieldKind === "map") {
    // In the order in which our own encoder writes them.
    const names = Array.from({ length: pick(ITEMS_MAX) }, () => randomText(pick)).sort();
    const entries = names.map((name) => [name, randomSingle(field, pick, depth)] as const);
    return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
  }
  if (field.fieldKind !== "list") return randomSingle(field, pick, depth);
  const items = Array.from({ length: pick(ITEMS_MAX) }, () => randomSingle(field, pick, depth));
  return items.filter((item) => item !== undefined);
}

function randomSingle(field: DescField, pick: Pick, depth: number): unknown {
  if (field.message !== undefined) {
    return depth < DEPTH_MAX ? randomMessage(field.message, pick, depth + 1) : undefined;
  }
  if (field.enum !== undefined) return pick(field.enum.values.length + 1);
  return randomScalar(field.scalar, pick);
}

function randomScalar(type: ScalarType, pick: Pick): unknown {
  switch (type) {
    case ScalarType.STRING:
      return randomText(pick);
    case ScalarType.BYTES:
      return Buffer.alloc(choose(LENGTHS, pick), pick(256));
    case ScalarType.BOOL:
      return pick(2) === 1;
    case ScalarType.INT64:
      return choose(LONGS, pick);
    case ScalarType.UINT64:
      return choose([0n, 1n, 2n ** 40n, 2n ** 53n + 1n, 2n ** 64n - 1n], pick);
    case ScalarType.UINT32:
      return choose([0, 1, 2 ** 31, 2 ** 32 - 1], pick);
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return choose(DOUBLES, pick);
    default:
      return choose(NUMBERS, pick);
  }
}

function randomText(pick: Pick): string {
  return choose(CHARACTERS, pick).repeat(choose(LENGTHS, pick));
}

function choose<T>(list: readonly T[], pick: Pick): T {
  return list[pick(list.length)] as T;
}
