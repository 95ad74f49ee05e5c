/** What a writer had seen of a key: every version up to one revision, and single ones behind it.
 *
 * A dotted version vector with one entry. Writes of a bucket are put in order by its revisions, so the bucket is the only
 * counter, and what somebody has seen is a set of revisions: all up to `base`, and `dots`. It stays this small however many
 * agents write, and is exact: a version is covered if and only if its writer had seen it.
 * Source: Preguiça et al. 2010, "Dotted Version Vectors". */
import { createHash } from "node:crypto";

/** A set of versions of one key, as their revisions. */
export interface CausalContext {
  readonly base: bigint;
  /** Each beyond the base, rising. */
  readonly dots: readonly bigint[];
}

/** Nothing was seen. */
export const NOTHING_SEEN: CausalContext = { base: 0n, dots: [] };

const FORM = 1;
const NAME_BYTES = 7;
const NUMBER_BYTES = 8;
/** A writer that chains its own writes has one; more only come from contexts that were joined. */
const DOTS_MAX = 64;

/** Says whether whoever has the context had seen the version. */
export function covers({ base, dots }: CausalContext, versionId: bigint): boolean {
  return versionId <= base || dots.includes(versionId);
}

/** What somebody has seen who has both. */
export function joinContexts(one: CausalContext, other: CausalContext): CausalContext {
  const base = one.base > other.base ? one.base : other.base;
  const dots = new Set([...one.dots, ...other.dots].filter((dot) => dot > base));
  return { base, dots: [...dots].sort((a, b) => (a < b ? -1 : 1)) };
}

/** What a writer has seen after its write, which replaced all that the context covers. While versions stand that it had not
 * seen, only its own write is added: the others must not look seen. */
export function contextAfter(
  before: CausalContext,
  versionId: bigint,
  unseen: number,
): CausalContext {
  if (unseen === 0) return { base: versionId, dots: [] };
  return { base: before.base, dots: [versionId] };
}

/** Writes a context so that it is good for this key of this bucket only. */
export function encodeContext(
  context: CausalContext,
  bucketId: bigint,
  key: string,
): Buffer<ArrayBuffer> {
  const numbers = [context.base, ...context.dots];
  const buffer = Buffer.alloc(1 + NAME_BYTES + numbers.length * NUMBER_BYTES);
  buffer[0] = FORM;
  nameOf(bucketId, key).copy(buffer, 1);
  for (const [at, number] of numbers.entries()) {
    buffer.writeBigInt64BE(number, 1 + NAME_BYTES + at * NUMBER_BYTES);
  }
  return buffer;
}

/** Reads a context; undefined for what was not made for this key, or claims to have seen what is not written yet. */
export function tryDecodeContext(
  bytes: Uint8Array,
  bucketId: bigint,
  key: string,
  lastRevision: bigint,
): CausalContext | undefined {
  if (bytes.byteLength === 0) return NOTHING_SEEN;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = (buffer.length - 1 - NAME_BYTES) / NUMBER_BYTES;
  if (buffer[0] !== FORM || !Number.isInteger(count) || count < 1) return undefined;
  if (count > 1 + DOTS_MAX) return undefined;
  if (!buffer.subarray(1, 1 + NAME_BYTES).equals(nameOf(bucketId, key))) return undefined;
  const numbers = Array.from({ length: count }, (_, at) =>
    buffer.readBigInt64BE(1 + NAME_BYTES + at * NUMBER_BYTES),
  );
  if (numbers.some((number) => number < 0n || number > lastRevision)) return undefined;
  const [base = 0n, ...dots] = numbers;
  return { base, dots };
}

function nameOf(bucketId: bigint, key: string): Buffer {
  const name = createHash("sha256").update(`${bucketId}/${key}`).digest();
  return name.subarray(0, NAME_BYTES);
}
