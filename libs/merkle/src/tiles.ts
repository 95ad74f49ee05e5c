import { EMPTY_ROOT, HASH_BYTES, hashNode, hashPerfect } from "./hashes.ts";
import {
  consistencyRanges,
  inclusionRanges,
  type NodeName,
  nodesOf,
  type Range,
} from "./ranges.ts";

/** Levels of the tree in one tile. Source: C2SP tlog-tiles. */
const TILE_LEVELS = 8;
/** Hashes in a full tile. */
export const TILE_HASHES = 2 ** TILE_LEVELS;

/** A tile: 256 neighbouring hashes of tree level 8 * level; the last one of its level holds fewer. */
export interface TileName {
  readonly level: number;
  readonly index: number;
}

/** A tile with its hashes, one after the other. */
export interface Tile extends TileName {
  readonly hashes: Uint8Array;
}

function keyOf({ level, index }: TileName): string {
  return `${level}/${index}`;
}

/** Where the hashes below a node lie: a node has no place of its own in a tile unless it is on its lowest level. */
function placeOf({ level, index }: NodeName) {
  const width = 2 ** (level % TILE_LEVELS);
  const first = index * width;
  const tile = {
    level: Math.floor(level / TILE_LEVELS),
    index: Math.floor(first / TILE_HASHES),
  };
  return { tile, first: first % TILE_HASHES, width };
}

/** The tiles that the nodes of these ranges are computed from, each once. */
export function tilesOf(ranges: readonly Range[]): TileName[] {
  const found = new Map<string, TileName>();
  for (const node of ranges.flatMap(nodesOf)) {
    const { tile } = placeOf(node);
    found.set(keyOf(tile), tile);
  }
  return [...found.values()];
}

/** The tiles from which a tree of this size is continued. */
export function edgeTiles(size: number): TileName[] {
  return tilesOf([[0, size]]);
}

/** The tiles of an inclusion proof. */
export function inclusionTiles(index: number, size: number): TileName[] {
  return tilesOf(inclusionRanges(index, size));
}

/** The tiles of a consistency proof. */
export function consistencyTiles(first: number, second: number): TileName[] {
  return tilesOf(consistencyRanges(first, second));
}

/** Some tiles of a tree, to compute roots and proofs from, and to continue it. It has what was given to it: a node whose
 * tile is not there is a RangeError, so ask the functions above which are needed. */
export class TileSet {
  readonly #tiles = new Map<string, Uint8Array[]>();
  readonly #changed = new Map<string, TileName>();

  constructor(tiles: Iterable<Tile>) {
    for (const tile of tiles) {
      const hashes: Uint8Array[] = [];
      for (let at = 0; at + HASH_BYTES <= tile.hashes.byteLength; at += HASH_BYTES) {
        hashes.push(tile.hashes.subarray(at, at + HASH_BYTES));
      }
      this.#tiles.set(keyOf(tile), hashes);
    }
  }

  /** Continues a tree of this size by one leaf. Needs its edge tiles. */
  append(size: number, leafHash: Uint8Array): void {
    let hash = leafHash;
    let index = size;
    for (let level = 0; ; level++) {
      const name = { level, index: Math.floor(index / TILE_HASHES) };
      const hashes = this.#tiles.get(keyOf(name)) ?? [];
      if (hashes.length !== index % TILE_HASHES) throw new RangeError("A tile has another size.");
      hashes.push(hash);
      this.#tiles.set(keyOf(name), hashes);
      this.#changed.set(keyOf(name), name);
      if (hashes.length < TILE_HASHES) return;
      hash = hashPerfect(hashes);
      index = name.index;
    }
  }

  /** The tiles that append() changed. */
  changed(): Tile[] {
    return [...this.#changed.values()].map((name) => ({
      ...name,
      hashes: Buffer.concat(this.#tiles.get(keyOf(name)) ?? []),
    }));
  }

  /** The root of a tree of this size. */
  root(size: number): Uint8Array {
    return size === 0 ? EMPTY_ROOT : this.#rangeHash([0, size]);
  }

  /** Proves that a leaf is part of a tree of this size. */
  inclusionProof(index: number, size: number): Uint8Array[] {
    return inclusionRanges(index, size).map((range) => this.#rangeHash(range));
  }

  /** Proves that the second tree begins with the first. */
  consistencyProof(first: number, second: number): Uint8Array[] {
    return consistencyRanges(first, second).map((range) => this.#rangeHash(range));
  }

  #rangeHash(range: Range): Uint8Array {
    const hashes = nodesOf(range).map((node) => this.#nodeHash(node));
    return hashes.reduceRight((right, left) => hashNode(left, right));
  }

  #nodeHash(node: NodeName): Uint8Array {
    const { tile, first, width } = placeOf(node);
    const below = this.#tiles.get(keyOf(tile))?.slice(first, first + width) ?? [];
    if (below.length !== width) throw new RangeError("A tile is missing or too short.");
    return hashPerfect(below);
  }
}
