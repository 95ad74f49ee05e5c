import { timingSafeEqual } from "node:crypto";
import { HASH_BYTES, hashNode } from "./hashes.ts";

/** What an inclusion proof claims. */
export interface InclusionClaim {
  readonly index: number;
  readonly size: number;
  readonly leafHash: Uint8Array;
  readonly root: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/** What a consistency proof claims: the second tree begins with all leaves of the first. */
export interface ConsistencyClaim {
  readonly firstSize: number;
  readonly secondSize: number;
  readonly firstRoot: Uint8Array;
  readonly secondRoot: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function areHashes(hashes: readonly Uint8Array[]): boolean {
  return hashes.every((hash) => hash.byteLength === HASH_BYTES);
}

function same(left: Uint8Array, right: Uint8Array): boolean {
  return left.byteLength === right.byteLength && timingSafeEqual(left, right);
}

/** Says whether a leaf is where a proof says it is. Never throws: what is malformed proves nothing.
 *
 * Source: RFC 9162 section 2.1.3.2. Sizes go beyond 32 bits, so bits are taken by division. */
export function verifiesInclusion({ index, size, leafHash, root, proof }: InclusionClaim): boolean {
  if (!isSize(index) || !isSize(size) || index >= size) return false;
  if (!areHashes([leafHash, root, ...proof])) return false;
  let node = index;
  let last = size - 1;
  let hash = leafHash;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      hash = hashNode(sibling, hash);
      while (node % 2 === 0 && node !== 0) {
        node /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      hash = hashNode(hash, sibling);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && same(hash, root);
}

/** Says whether a tree goes on from an earlier one. Never throws: what is malformed proves nothing.
 *
 * Source: RFC 9162 section 2.1.4.2. */
export function verifiesConsistency(claim: ConsistencyClaim): boolean {
  const { firstSize, secondSize, firstRoot, secondRoot, proof } = claim;
  if (!isSize(firstSize) || !isSize(secondSize) || firstSize > secondSize) return false;
  if (!areHashes([firstRoot, secondRoot, ...proof])) return false;
  if (firstSize === secondSize) return proof.length === 0 && same(firstRoot, secondRoot);
  // Everything goes on from nothing.
  if (firstSize === 0) return proof.length === 0;
  return foldsToBoth(claim, isPowerOfTwo(firstSize) ? [firstRoot, ...proof] : proof);
}

function foldsToBoth(claim: ConsistencyClaim, path: readonly Uint8Array[]): boolean {
  const [start, ...rest] = path;
  if (start === undefined) return false;
  let node = claim.firstSize - 1;
  let last = claim.secondSize - 1;
  while (node % 2 === 1) {
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  let first = start;
  let second = start;
  for (const sibling of rest) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      first = hashNode(sibling, first);
      second = hashNode(sibling, second);
      while (node % 2 === 0 && node !== 0) {
        node /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      second = hashNode(second, sibling);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && same(first, claim.firstRoot) && same(second, claim.secondRoot);
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value));
}
