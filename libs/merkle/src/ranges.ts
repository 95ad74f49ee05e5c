/** Which subtrees a root or a proof is made of. Pure arithmetic on sizes; sizes up to 2^53. */

/** A complete subtree: all 2^level leaves from index * 2^level on. */
export interface NodeName {
  readonly level: number;
  readonly index: number;
}

/** Leaves from the first up to, not including, the second. */
export type Range = readonly [from: number, to: number];

/** The largest power of two below n, for n > 1. */
function splitOf(n: number): number {
  let split = 1;
  while (split * 2 < n) split *= 2;
  return split;
}

/** Returns the complete subtrees that a range consists of, from left to right. The range begins where a subtree of its
 * size may: at a multiple of a power of two that is not smaller than itself. */
export function nodesOf([from, to]: Range): NodeName[] {
  const nodes: NodeName[] = [];
  let at = from;
  while (at < to) {
    let level = 0;
    let width = 1;
    while (at + width * 2 <= to) {
      width *= 2;
      level++;
    }
    nodes.push({ level, index: at / width });
    at += width;
  }
  return nodes;
}

/** The subtrees of an inclusion proof, in the order of the proof. Source: RFC 6962 section 2.1.1. */
export function inclusionRanges(index: number, size: number): Range[] {
  const ranges: Range[] = [];
  let from = 0;
  let to = size;
  while (to - from > 1) {
    const middle = from + splitOf(to - from);
    if (index < middle) {
      ranges.push([middle, to]);
      to = middle;
    } else {
      ranges.push([from, middle]);
      from = middle;
    }
  }
  return ranges.reverse();
}

/** The subtrees of a consistency proof, in the order of the proof. Source: RFC 6962 section 2.1.2. */
export function consistencyRanges(first: number, second: number): Range[] {
  if (first === 0 || first === second) return [];
  const ranges: Range[] = [];
  let from = 0;
  let to = second;
  // The whole old tree needs no hash of its own as long as it is the left edge: its root is known.
  let known = true;
  while (first !== to) {
    const middle = from + splitOf(to - from);
    if (first <= middle) {
      ranges.push([middle, to]);
      to = middle;
    } else {
      ranges.push([from, middle]);
      from = middle;
      known = false;
    }
  }
  if (!known) ranges.push([from, to]);
  return ranges.reverse();
}
