import {
  type Duration,
  durationFromMs,
  type Timestamp,
  timestampFromMs,
} from "@bufbuild/protobuf/wkt";
import type { CommandArguments } from "../command.ts";
import { usageError } from "../usage-error.ts";

const AGO = /^(\d{1,6})(s|m|h|d)$/;
const UNIT_MS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Reads a moment: RFC 3339 such as `2026-11-26T08:00:00Z`, a date, or how long ago, such as `90m`. Left out stays left out. */
export function parseTime(
  flag: string,
  text: string | undefined,
  nowMs: number = Date.now(),
): Timestamp | undefined {
  if (text === undefined) return undefined;
  const [, count, unit = ""] = AGO.exec(text) ?? [];
  const ms = count === undefined ? Date.parse(text) : nowMs - Number(count) * (UNIT_MS[unit] ?? 0);
  if (Number.isNaN(ms)) {
    const forms = "a time such as 2026-11-26T08:00:00Z, or how long ago, such as 90m, 12h or 7d";
    throw usageError(`--${flag} is ${forms}, not "${text}".`);
  }
  return timestampFromMs(ms);
}

/** Reads how long something lasts: `90s`, `15m`, `12h`, `30d`. Left out stays left out. */
export function parseSpan(flag: string, text: string | undefined): Duration | undefined {
  if (text === undefined) return undefined;
  const [, count, unit = ""] = AGO.exec(text) ?? [];
  if (count === undefined) {
    throw usageError(`--${flag} is how long, such as 90s, 15m, 12h or 30d, not "${text}".`);
  }
  return durationFromMs(Number(count) * (UNIT_MS[unit] ?? 0));
}

/** Reads `--since` and `--until` as the range of time in which something was submitted; what was left out stays left out. */
export function parseCreated(
  args: Pick<CommandArguments, "text">,
  nowMs: number = Date.now(),
): { createdFrom?: Timestamp; createdUntil?: Timestamp } {
  const createdFrom = parseTime("since", args.text("since"), nowMs);
  const createdUntil = parseTime("until", args.text("until"), nowMs);
  return {
    ...(createdFrom === undefined ? {} : { createdFrom }),
    ...(createdUntil === undefined ? {} : { createdUntil }),
  };
}

/** How long something took; `-` while it lasts, or before it began. */
export function showSpan(from: Timestamp | undefined, until: Timestamp | undefined): string {
  if (from === undefined || until === undefined) return "-";
  const seconds = Number(until.seconds - from.seconds) + (until.nanos - from.nanos) / 1e9;
  return seconds < 1 ? `${(seconds * 1_000).toFixed(0)} ms` : `${seconds.toFixed(1)} s`;
}
