/** Times between the contract's messages and numbers. Microseconds is what the database keeps. */
import type { Duration } from "@bufbuild/protobuf/wkt";

const US_PER_S = 1_000_000;
const US_PER_MS = 1_000;
const NS_PER_US = 1_000;

interface SecondsAndNanos {
  readonly seconds: bigint;
  readonly nanos: number;
}

/** Writes a moment given in epoch milliseconds, which may have a fraction. */
export function toTimestamp(epochMs: number): SecondsAndNanos {
  return fromMicros(Math.round(epochMs * US_PER_MS));
}

/** Writes a duration given in microseconds; fractions are rounded. */
export function toDurationUs(durationUs: number): SecondsAndNanos {
  return fromMicros(Math.round(durationUs));
}

/** Reads a duration as microseconds; undefined when it is not set. */
export function fromDurationUs(duration: Duration | undefined): number | undefined {
  if (duration === undefined) return undefined;
  return Number(duration.seconds) * US_PER_S + Math.round(duration.nanos / NS_PER_US);
}

/** Reads a duration as milliseconds; undefined when it is not set. */
export function fromDurationMs(duration: Duration | undefined): number | undefined {
  const micros = fromDurationUs(duration);
  return micros === undefined ? undefined : micros / US_PER_MS;
}

function fromMicros(micros: number): SecondsAndNanos {
  const seconds = Math.floor(micros / US_PER_S);
  return { seconds: BigInt(seconds), nanos: (micros - seconds * US_PER_S) * NS_PER_US };
}
