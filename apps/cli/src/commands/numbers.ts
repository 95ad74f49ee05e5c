import { usageError } from "../usage-error.ts";

const LIMIT_MAX = 1_000;
const PRIORITY = /^[-+]?\d{1,9}$/;
/** What the contracts' int32 holds. */
const COUNT_MAX = 2_147_483_647;

/** Reads --limit; 0, which means the method's own default, when it was left out. */
export function parseLimit(text: string | undefined): number {
  if (text === undefined) return 0;
  const limit = Number(text);
  const fits = Number.isInteger(limit) && limit >= 1 && limit <= LIMIT_MAX;
  if (!fits) throw usageError(`--limit is a whole number from 1 to ${LIMIT_MAX}, not "${text}".`);
  return limit;
}

/** Reads --priority; the contract says how far it goes. */
export function parsePriority(text: string | undefined): number {
  if (text === undefined) return 0;
  if (PRIORITY.test(text)) return Number(text);
  throw usageError(`--priority is a whole number from -100 to 100, not "${text}".`);
}

/** Reads a flag that is a whole number from `min` up; undefined when it was left out. */
export function parseCount(
  flag: string,
  text: string | undefined,
  min: number,
): number | undefined {
  if (text === undefined) return undefined;
  const count = Number(text);
  if (Number.isInteger(count) && count >= min && count <= COUNT_MAX) return count;
  throw usageError(`--${flag} is a whole number from ${min} on, not "${text}".`);
}
