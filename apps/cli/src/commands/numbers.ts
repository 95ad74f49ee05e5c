import { usageError } from "../usage-error.ts";

const LIMIT_MAX = 1_000;

/** Reads --limit; 0, which means the method's own default, when it was left out. */
export function parseLimit(text: string | undefined): number {
  if (text === undefined) return 0;
  const limit = Number(text);
  const fits = Number.isInteger(limit) && limit >= 1 && limit <= LIMIT_MAX;
  if (!fits) throw usageError(`--limit is a whole number from 1 to ${LIMIT_MAX}, not "${text}".`);
  return limit;
}
