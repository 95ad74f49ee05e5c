import { createHash, hash } from "node:crypto";

/** Bytes of one hash. */
export const HASH_BYTES = 32;

const NODE_BYTES = 1 + 2 * HASH_BYTES;
/** Reused for every node: hashing is synchronous, and a node is hashed for nearly every leaf. */
const node = Buffer.alloc(NODE_BYTES, 1);
/** The same for leaves of the usual size, behind the prefix. */
const LEAF_BYTES_USUAL = 4096;
const usualLeaf = Buffer.alloc(1 + LEAF_BYTES_USUAL);

/** The root of a tree without leaves. */
export const EMPTY_ROOT: Buffer = createHash("sha256").digest();

/** Hashes a leaf. Source: RFC 6962 section 2.1; the prefix keeps leaves and nodes apart. */
export function hashLeaf(leaf: Uint8Array): Buffer {
  const isUsual = leaf.byteLength <= LEAF_BYTES_USUAL;
  const prefixed = isUsual ? usualLeaf : Buffer.alloc(1 + leaf.byteLength);
  prefixed.set(leaf, 1);
  return sha256(isUsual ? prefixed.subarray(0, 1 + leaf.byteLength) : prefixed);
}

/** Hashes two neighbours into the node above them. Source: RFC 6962 section 2.1. */
export function hashNode(left: Uint8Array, right: Uint8Array): Buffer {
  node.set(left, 1);
  node.set(right, 1 + HASH_BYTES);
  return sha256(node);
}

/** By way of a text, as Node takes twice as long to make a Buffer of its own of so few bytes (20.20, 2026-11). */
function sha256(bytes: Uint8Array): Buffer {
  return Buffer.from(hash("sha256", bytes, "binary"), "latin1");
}

/** Folds 2^n neighbours into the node above them all. */
export function hashPerfect(hashes: readonly Uint8Array[]): Uint8Array {
  let level = hashes;
  while (level.length > 1) {
    const above: Uint8Array[] = [];
    for (let at = 0; at < level.length; at += 2) {
      above.push(hashNode(level[at] as Uint8Array, level[at + 1] as Uint8Array));
    }
    level = above;
  }
  return level[0] as Uint8Array;
}
