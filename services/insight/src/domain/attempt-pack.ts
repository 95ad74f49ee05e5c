/** Attempts packed into bytes: what a row holds of one job, one minute and one call. About a dozen bytes an attempt. */
import type { AttemptKind } from "./performance-tally.ts";
import { readText, readVarint, textBytes, varintBytes, writeText, writeVarint } from "./varint.ts";

const VERSION = 1;
const SUCCESS = 1;
/** How many numbers there are for whether an attempt succeeded. */
const FLAGS = 2;
/** Durations are stored with one added: 0 says that nothing was measured. */
const UNMEASURED = 0;

/** One attempt of a pack. Durations in microseconds. */
export interface PackedAttempt {
  /** When it ended, since the pack's minute began. */
  readonly endMs: number;
  /** Attempts of a kind that are unpacked together share one. */
  readonly kind: AttemptKind;
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
  const kinds = new Map<AttemptKind, readonly [number, number, number]>();
  const placesOf = (kind: AttemptKind): readonly [number, number, number] => {
    const known = kinds.get(kind);
    if (known !== undefined) return known;
    const { agentId, capability, reason } = kind;
    const found = [placeOf(agentId), placeOf(capability), placeOf(reason)] as const;
    kinds.set(kind, found);
    return found;
  };
  const numbers: number[] = [];
  for (const { endMs, kind, queueUs, runUs } of attempts) {
    const [agent, capability, reason] = placesOf(kind);
    numbers.push(endMs, agent, capability, reason, kind.success ? SUCCESS : 0);
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
  const kinds = new Kinds(texts);
  const attempts: PackedAttempt[] = [];
  while (offset < bytes.length) {
    attempts.push({
      endMs: next(),
      kind: kinds.at(next(), next(), next(), next()),
      queueUs: fromStored(next()),
      runUs: fromStored(next()),
    });
  }
  return attempts;
}

/** The kinds of a pack, each made once. */
class Kinds {
  readonly #texts: readonly string[];
  readonly #known = new Map<number, AttemptKind>();

  constructor(texts: readonly string[]) {
    this.#texts = texts;
  }

  at(agent: number, capability: number, reason: number, flags: number): AttemptKind {
    const size = this.#texts.length;
    if (agent >= size || capability >= size || reason >= size) throw missing();
    const id = ((agent * size + capability) * size + reason) * FLAGS + flags;
    let kind = this.#known.get(id);
    if (kind === undefined) {
      kind = {
        agentId: this.#text(agent),
        capability: this.#text(capability),
        reason: this.#text(reason),
        success: flags === SUCCESS,
      };
      this.#known.set(id, kind);
    }
    return kind;
  }

  #text(place: number): string {
    const text = this.#texts[place];
    if (text === undefined) throw missing();
    return text;
  }
}

function missing(): RangeError {
  return new RangeError("a pack names a text that it does not hold");
}

function toStored(us: number | undefined): number {
  return us === undefined ? UNMEASURED : us + 1;
}

function fromStored(stored: number): number | undefined {
  return stored === UNMEASURED ? undefined : stored - 1;
}
