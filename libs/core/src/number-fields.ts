import { KiB, MiB } from "@nexus/shared";
import { type Field, type FieldSpec, makeField, type Parsed, type ValueOf } from "./field.ts";

/** A number with bounds. */
export interface NumberSpec extends FieldSpec<number> {
  /** Smallest allowed value; default 0. */
  readonly min?: number;
  /** Largest allowed value. */
  readonly max?: number;
}

interface Bounds {
  readonly min: number;
  readonly max: number;
}

const PORT_MAX = 65_535;
const INT_MAX = Number.MAX_SAFE_INTEGER;
/** The longest delay a Node timer takes; longer ones fire at once. */
const DURATION_MAX_MS = 2 ** 31 - 1;
const GiB = 1024 * MiB;

const DURATION_PATTERN = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?$/;
const DURATION_UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const BYTES_PATTERN = /^(\d+)\s*(B|KiB|MiB|GiB)?$/;
const BYTES_UNITS: Readonly<Record<string, number>> = { B: 1, KiB, MiB, GiB };

function boundsOf(spec: NumberSpec, max: number): Bounds {
  return { min: spec.min ?? 0, max: spec.max ?? max };
}

function rangeText(bounds: Bounds, max: number, unit = ""): string {
  if (bounds.max === max && bounds.min === 0) return "";
  if (bounds.max === max) return `>= ${bounds.min}${unit}`;
  return `${bounds.min}..${bounds.max}${unit}`;
}

function within(value: number, bounds: Bounds, unit = ""): Parsed<number> {
  if (value < bounds.min) return { problem: `must be at least ${bounds.min}${unit}` };
  if (value > bounds.max) return { problem: `must be at most ${bounds.max}${unit}` };
  return { value };
}

function parseWhole(raw: string, bounds: Bounds): Parsed<number> {
  if (!/^-?\d+$/.test(raw)) return { problem: "must be a whole number" };
  const value = Number(raw);
  if (!Number.isSafeInteger(value)) return { problem: "is too large a number" };
  return within(value, bounds);
}

/** A whole number, 0 or more unless `min` says otherwise. */
export function int<const S extends NumberSpec>(spec: S): Field<ValueOf<S, number>> {
  const bounds = boundsOf(spec, INT_MAX);
  return makeField<number, S>(spec, {
    type: "integer",
    example: String(spec.default ?? bounds.min),
    range: rangeText(bounds, INT_MAX),
    parse: (raw) => parseWhole(raw, bounds),
  });
}

/** A number with a fraction. */
export function float<const S extends NumberSpec>(spec: S): Field<ValueOf<S, number>> {
  const bounds = boundsOf(spec, Number.MAX_VALUE);
  return makeField<number, S>(spec, {
    type: "number",
    example: String(spec.default ?? bounds.min),
    range: rangeText(bounds, Number.MAX_VALUE),
    parse(raw) {
      const value = Number(raw);
      if (raw.trim() === "" || !Number.isFinite(value)) return { problem: "must be a number" };
      return within(value, bounds);
    },
  });
}

/** A TCP port; 0 lets the system choose. */
export function port<const S extends NumberSpec>(spec: S): Field<ValueOf<S, number>> {
  const bounds = boundsOf(spec, PORT_MAX);
  return makeField<number, S>(spec, {
    type: "port",
    example: String(spec.default ?? 7400),
    range: rangeText(bounds, INT_MAX),
    parse: (raw) => parseWhole(raw, bounds),
  });
}

/** Milliseconds, written as a number or with a unit: `250`, `500ms`, `30s`, `5m`, `1h`, `7d`. */
export function durationMs<const S extends NumberSpec>(spec: S): Field<ValueOf<S, number>> {
  const bounds = boundsOf(spec, DURATION_MAX_MS);
  return makeField<number, S>(spec, {
    type: "duration",
    example: "30s",
    range: rangeText(bounds, DURATION_MAX_MS, " ms"),
    parse(raw) {
      const match = DURATION_PATTERN.exec(raw.trim());
      if (match === null) return { problem: "must be a duration in ms, or with ms, s, m, h or d" };
      const unitMs = DURATION_UNITS_MS[match[2] ?? "ms"] ?? 1;
      return within(Math.round(Number(match[1]) * unitMs), bounds, " ms");
    },
  });
}

/** A size, written as a number of bytes or with a unit: `4096`, `256KiB`, `4MiB`, `1GiB`. */
export function bytes<const S extends NumberSpec>(spec: S): Field<ValueOf<S, number>> {
  const bounds = boundsOf(spec, INT_MAX);
  return makeField<number, S>(spec, {
    type: "size",
    example: "4MiB",
    range: rangeText(bounds, INT_MAX, " bytes"),
    parse(raw) {
      const match = BYTES_PATTERN.exec(raw.trim());
      if (match === null) return { problem: "must be a size in bytes, or with KiB, MiB or GiB" };
      return within(Number(match[1]) * (BYTES_UNITS[match[2] ?? "B"] ?? 1), bounds, " bytes");
    },
  });
}
