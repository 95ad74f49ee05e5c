import { EMPTY_ROOT, hashNode } from "./hashes.ts";

/** A growing tree of which only the right edge is kept: enough for its root, at 32 bytes a level.
 *
 * Cost: one node hash a leaf on average. Not for proofs; those need TileSet. */
export class Frontier {
  readonly #edge: (Uint8Array | undefined)[];
  #size: number;

  constructor(from?: Frontier) {
    this.#edge = from === undefined ? [] : [...from.#edge];
    this.#size = from?.size ?? 0;
  }

  /** Leaves so far. */
  get size(): number {
    return this.#size;
  }

  /** Appends a leaf by its hash. */
  append(leafHash: Uint8Array): void {
    let hash = leafHash;
    let level = 0;
    for (let left = this.#edge[0]; left !== undefined; left = this.#edge[++level]) {
      hash = hashNode(left, hash);
      this.#edge[level] = undefined;
    }
    this.#edge[level] = hash;
    this.#size++;
  }

  /** The root of the leaves so far. */
  root(): Uint8Array {
    let hash: Uint8Array | undefined;
    for (const left of this.#edge) {
      if (left === undefined) continue;
      hash = hash === undefined ? left : hashNode(left, hash);
    }
    return hash ?? EMPTY_ROOT;
  }
}
