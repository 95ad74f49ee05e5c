/** Arrays of plain values as Postgres reads them: what a batch statement is mostly made of. */

const NEEDS_ESCAPE = /["\\]/;
const EVERY_ESCAPE = /["\\]/g;

type Plain = string | number | bigint | boolean | null;

/** Writes an array of texts, numbers, booleans and nulls as an array literal; undefined for an array that holds anything else,
 * which is the driver's to write.
 *
 * The driver escapes each element with two regular expressions, which made up a twentieth of a busy owner's time; most elements are
 * ids and numbers that need none.   Source: PostgreSQL manual, section 8.15.6. */
export function tryArrayLiteral(values: readonly unknown[]): string | undefined {
  let literal = "{";
  for (const value of values) {
    if (!isPlain(value)) return undefined;
    if (literal.length > 1) literal += ",";
    literal += elementOf(value);
  }
  return `${literal}}`;
}

function isPlain(value: unknown): value is Plain {
  const type = typeof value;
  return (
    value === null ||
    type === "string" ||
    type === "number" ||
    type === "bigint" ||
    type === "boolean"
  );
}

function elementOf(value: Plain): string {
  if (value === null) return "NULL";
  if (typeof value !== "string") return String(value);
  return NEEDS_ESCAPE.test(value) ? `"${value.replace(EVERY_ESCAPE, "\\$&")}"` : `"${value}"`;
}
