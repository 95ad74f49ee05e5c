/** Durations and Timestamps of 0 or more: both have seconds in field 1 and nanos in field 2. */
import { uintSize, type WireWriter } from "@nexus/rpc";

const NANOS_PER_MS = 1e6;

/** A Duration or a Timestamp in its parts. */
export interface Time {
  readonly seconds: number;
  readonly nanos: number;
}

/** Takes milliseconds apart. */
export function toTime(ms: number): Time {
  const seconds = Math.floor(ms / 1_000);
  return { seconds, nanos: Math.floor((ms - seconds * 1_000) * NANOS_PER_MS) };
}

/** Bytes of the message, without its tag. */
export function timeSize({ seconds, nanos }: Time): number {
  return uintSize(seconds) + uintSize(nanos);
}

/** Writes it as a field. */
export function writeTime(writer: WireWriter, field: number, time: Time): void {
  writer.open(field, timeSize(time));
  writer.uint(1, time.seconds);
  writer.uint(2, time.nanos);
}
