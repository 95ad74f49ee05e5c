/** Attempts packed into bytes: what a row holds of one job, one minute and one call. About a dozen bytes an attempt. */
import { readText, readVarint, textBytes, varintBytes, writeText, writeVarint } from "./varint.ts";

const VERSION = 1;
const SUCCESS = 1;
/** Durations are stored with one added: 0 says that nothing was measured. */
const UNMEASURED = 0;

/** One attempt of a pack. Durations in microseconds. */
export interface PackedAttempt {
  /** When it ended, since the pack's minute began. */
  readonly endMs: number;
  readonly agentId: string;
  readonly capability: string;
  readonly success: boolean;
  /** Empty on success. */
  readonly reason: string;
  readonly queueUs: number | undefined;
  readonly runUs: number | undefined;
}

/** Packs attempts: the version, how many texts there are and each of them, then for each attempt its end, the places of its agent,
 * capability and reason among them, whether it succeeded, and its durations. All numbers are varints. */
export function packAttempts(attempts: readonly PackedAttempt[]): Buffer {
  const places = new Map<string, number>();
  const placeOf = (text: string): number => {
    const known = places.get(text);
    if (known !== undefined) return known;
    places.set(text, places.size);
    return places.size - 1;
  };
  const numbers: number[] = [];
  for (const { endMs, agentId, capability, success, reason, queueUs, runUs } of attempts) {
    numbers.push(
      endMs,
      placeOf(agentId),
      placeOf(capability),
      placeOf(reason),
      success ? SUCCESS : 0,
    );
    numbers.push(toStored(queueUs), toStored(runUs));
  }
  let size = varintBytes(VERSION) + varintBytes(places.size);
  for (const text of places.keys()) size += textBytes(text);
  for (const number of numbers) size += varintBytes(number);
  const bytes = Buffer.allocUnsafe(size);
  let offset = writeVarint(bytes, writeVarint(bytes, 0, VERSION), places.size);
  for (const text of places.keys()) offset = writeText(bytes, offset, text);
  for (const number of numbers) offset = writeVarint(bytes, offset, number);
  return bytes;
}

/** Reads what packAttempts() wrote. Throws a RangeError for anything else. */
export function unpackAttempts(bytes: Buffer): PackedAttempt[] {
  let offset = 0;
  const next = (): number => {
    const read = readVarint(bytes, offset);
    offset = read.next;
    return read.value;
  };
  if (next() !== VERSION) throw new RangeError("not a pack of attempts");
  const texts: string[] = [];
  for (let left = next(); left > 0; left -= 1) {
    const read = readText(bytes, offset);
    offset = read.next;
    texts.push(read.text);
  }
  const nextText = (): string => {
    const text = texts[next()];
    if (text === undefined) throw new RangeError("a pack names a text that it does not hold");
    return text;
  };
  const attempts: PackedAttempt[] = [];
  while (offset < bytes.length) {
    attempts.push({
      endMs: next(),
      agentId: nextText(),
      capability: nextText(),
      reason: nextText(),
      success: next() === SUCCESS,
      queueUs: fromStored(next()),
      runUs: fromStored(next()),
    });
  }
  return attempts;
}

function toStored(us: number | undefined): number {
  return us === undefined ? UNMEASURED : us + 1;
}

function fromStored(stored: number): number | undefined {
  return stored === UNMEASURED ? undefined : stored - 1;
}
