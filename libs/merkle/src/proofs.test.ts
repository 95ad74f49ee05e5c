import { hasVectors, listVectors, readVectors } from "@nexus/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Frontier } from "./frontier.ts";
import { EMPTY_ROOT, hashLeaf, hashNode } from "./hashes.ts";
import { consistencyTiles, edgeTiles, inclusionTiles, TileSet } from "./tiles.ts";
import { verifiesConsistency, verifiesInclusion } from "./verify-proof.ts";

/** The definition of RFC 6962 section 2.1, word for word: slow, and nothing to get wrong. */
function rootOf(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return EMPTY_ROOT;
  if (leaves.length === 1) return hashLeaf(leaves[0] as Uint8Array);
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return hashNode(rootOf(leaves.slice(0, split)), rootOf(leaves.slice(split)));
}

const leaves = Array.from({ length: 700 }, (_, index) => Buffer.from(`leaf ${index}`));

/** A tree that grew in batches, each from the stored edge only, as a log grows; with every tile. */
function grow(
  size: number,
  batch: number,
): Map<string, { level: number; index: number; hashes: Uint8Array }> {
  const stored = new Map<string, { level: number; index: number; hashes: Uint8Array }>();
  const key = ({ level, index }: { level: number; index: number }) => `${level}/${index}`;
  for (let from = 0; from < size; from += batch) {
    const edge = edgeTiles(from).map((name) => stored.get(key(name)));
    const tiles = new TileSet(edge.filter((tile) => tile !== undefined));
    const to = Math.min(size, from + batch);
    for (let at = from; at < to; at++) tiles.append(at, hashLeaf(leaves[at] as Buffer));
    for (const tile of tiles.changed()) stored.set(key(tile), tile);
  }
  return stored;
}

const all = grow(700, 64);
const tilesFor = (names: readonly { level: number; index: number }[]) =>
  new TileSet(
    names.map(({ level, index }) => {
      const tile = all.get(`${level}/${index}`);
      if (tile === undefined) throw new Error("no tile");
      return tile;
    }),
  );

describe("a tree", () => {
  it("has the root of the definition at every size, from its edge as from its tiles", () => {
    const frontier = new Frontier();
    for (let size = 0; size <= 300; size++) {
      const root = rootOf(leaves.slice(0, size));
      expect(Buffer.compare(frontier.root(), root)).toBe(0);
      const tiles = new TileSet(grow(size, 37).values());
      if (size % 23 === 0) expect(Buffer.compare(tiles.root(size), root)).toBe(0);
      frontier.append(hashLeaf(leaves[size] as Buffer));
    }
  });

  it("refuses to go on from tiles of another size", () => {
    expect(() => new TileSet([]).append(3, EMPTY_ROOT)).toThrow(RangeError);
  });
});

describe("proofs", () => {
  const sizes = fc.integer({ min: 1, max: 700 });

  it("verify for every leaf of random trees, and not when anything about them is another", () => {
    const scene = sizes.chain((size) =>
      fc.record({
        size: fc.constant(size),
        index: fc.integer({ min: 0, max: size - 1 }),
        flip: fc.nat(),
        delta: fc.integer({ min: -3, max: 3 }),
      }),
    );
    fc.assert(
      fc.property(scene, ({ size, index, flip, delta }) => {
        const proof = tilesFor(inclusionTiles(index, size)).inclusionProof(index, size);
        const root = rootOf(leaves.slice(0, size));
        const leafHash = hashLeaf(leaves[index] as Buffer);
        const claim = { index, size, leafHash, root, proof };
        expect(verifiesInclusion(claim)).toBe(true);
        const parts = [leafHash, root, ...proof];
        const at = flip % parts.length;
        const bent = parts.map((part, place) => {
          const copy = Buffer.from(part);
          if (place === at) copy[flip % 32] = (copy[flip % 32] as number) ^ (1 << (flip % 8));
          return copy;
        });
        const [bentLeaf = EMPTY_ROOT, bentRoot = EMPTY_ROOT, ...bentProof] = bent;
        const forged = { ...claim, leafHash: bentLeaf, root: bentRoot, proof: bentProof };
        expect(verifiesInclusion(forged)).toBe(false);
        if (delta !== 0) expect(verifiesInclusion({ ...claim, index: index + delta })).toBe(false);
        expect(verifiesInclusion({ ...claim, proof: [...proof, root] })).toBe(false);
        expect(verifiesInclusion({ ...claim, proof: [root, ...proof] })).toBe(false);
        if (proof.length > 0) {
          expect(verifiesInclusion({ ...claim, proof: proof.slice(1) })).toBe(false);
        }
      }),
    );
  });

  it("tell that a tree goes on from another one, and refuse every other pair", () => {
    const scene = fc.record({ a: sizes, b: sizes, other: sizes, flip: fc.nat() });
    fc.assert(
      fc.property(scene, ({ a, b, other, flip }) => {
        const [firstSize, secondSize] = a < b ? [a, b] : [b, a];
        const proof = tilesFor(consistencyTiles(firstSize, secondSize)).consistencyProof(
          firstSize,
          secondSize,
        );
        const firstRoot = rootOf(leaves.slice(0, firstSize));
        const secondRoot = rootOf(leaves.slice(0, secondSize));
        const claim = { firstSize, secondSize, firstRoot, secondRoot, proof };
        expect(verifiesConsistency(claim)).toBe(true);
        const otherRoot = rootOf(leaves.slice(0, other));
        if (other !== firstSize) {
          expect(verifiesConsistency({ ...claim, firstRoot: otherRoot })).toBe(false);
        }
        if (other !== secondSize) {
          expect(verifiesConsistency({ ...claim, secondRoot: otherRoot })).toBe(false);
        }
        expect(verifiesConsistency({ ...claim, proof: [...proof, firstRoot] })).toBe(false);
        if (proof.length === 0) return;
        const at = flip % proof.length;
        const bent = proof.map((part, place) => (place === at ? hashLeaf(part) : part));
        expect(verifiesConsistency({ ...claim, proof: bent })).toBe(false);
        expect(verifiesConsistency({ ...claim, proof: proof.slice(0, -1) })).toBe(false);
      }),
    );
  });

  it("of malformed sizes prove nothing", () => {
    const hash = EMPTY_ROOT;
    const bad = [-1, 1.5, Number.NaN, 2 ** 53];
    for (const size of bad) {
      expect(verifiesInclusion({ index: 0, size, leafHash: hash, root: hash, proof: [] })).toBe(
        false,
      );
      expect(
        verifiesInclusion({ index: size, size: 9, leafHash: hash, root: hash, proof: [] }),
      ).toBe(false);
      const claim = {
        firstSize: size,
        secondSize: 9,
        firstRoot: hash,
        secondRoot: hash,
        proof: [],
      };
      expect(verifiesConsistency(claim)).toBe(false);
    }
  });
});

interface Vector {
  readonly leafIdx: number;
  readonly treeSize: number;
  readonly root: string | null;
  readonly leafHash: string;
  readonly proof: readonly string[] | null;
  readonly wantErr: boolean;
}

const FOLDER = "merkle/inclusion";

describe.skipIf(!hasVectors(FOLDER))("the vectors of transparency-dev/merkle", () => {
  const bytes = (text: string | null) => Buffer.from(text ?? "", "base64");

  it("are accepted and refused as they say", () => {
    const files = listVectors(FOLDER);
    expect(files.length).toBeGreaterThan(90);
    const wrong = files.filter((file) => {
      const { leafIdx, treeSize, leafHash, proof, wantErr, ...vector } = readVectors<Vector>(file);
      const claim = {
        leafHash: bytes(leafHash),
        root: bytes(vector.root),
        proof: (proof ?? []).map(bytes),
      };
      return verifiesInclusion({ index: leafIdx, size: treeSize, ...claim }) === wantErr;
    });
    expect(wrong).toEqual([]);
  });
});
