/** Chance that can be repeated. */

const UINT32 = 2 ** 32;

/** Mixes whole numbers into one of 32 bits; equal inputs, equal output. Source: the finalizer of MurmurHash3 (Appleby). */
function mix(...parts: readonly number[]): number {
  let hash = 0x9e3779b9;
  for (const part of parts) {
    hash ^= part;
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash ^= hash >>> 16;
  }
  return hash >>> 0;
}

/** A number from 0 to below 1 that depends on nothing but its parts: what happens to one task does not depend on what
 * was drawn for others, so that policies are compared on the same luck. */
export function draw(...parts: readonly number[]): number {
  return mix(...parts) / UINT32;
}

/** A sequence of such numbers. */
export function createDraws(seed: number): () => number {
  let count = 0;
  return () => {
    count += 1;
    return draw(seed, count);
  };
}

/** A standard normal number of two uniform ones. Source: Box and Muller 1958. */
export function toNormal(first: number, second: number): number {
  return Math.sqrt(-2 * Math.log(1 - first)) * Math.cos(2 * Math.PI * second);
}
