import type { Checkpoint } from "./checkpoint.ts";
import { Frontier } from "./frontier.ts";
import { hashLeaf } from "./hashes.ts";

/** One leaf as a log shows it. */
export interface LoggedLeaf {
  /** The place that the log gives it. */
  readonly index: number;
  readonly leaf: Uint8Array;
  /** The place that the leaf itself names; undefined when leaves do not. */
  readonly ownIndex?: number | undefined;
  /** What the log has stored as the leaf's hash, apart from the leaf; it tells which of several leaves was changed. */
  readonly storedHash?: Uint8Array | undefined;
}

/** A checkpoint whose signature has been checked, and from whom it is. */
export interface TrustedCheckpoint extends Checkpoint {
  /** `log`: what is judged brings it along. The others are what somebody else kept. */
  readonly source: "log" | "pinned" | "witness";
}

/** What is wrong with a log, and from where on. */
export interface LogProblem {
  /** edited: a leaf is not the one that was signed. reordered: leaves stand in another order. missing: one between two
   * others is gone. truncated: the newest are gone. forked: the log signed two histories. unsigned: the newest are under
   * no checkpoint. hash: a stored hash was changed, its leaf was not. */
  readonly kind: "edited" | "reordered" | "missing" | "truncated" | "forked" | "unsigned" | "hash";
  /** The first leaf that is not as it was signed, or the first of those among which it is. */
  readonly firstBadLeaf: number;
  /** Set when the leaf is one of several, all that two checkpoints leave open: the first one behind them. */
  readonly before?: number;
  /** Whose checkpoint tells. */
  readonly source?: TrustedCheckpoint["source"];
}

/** The end of a judgement. */
export interface LogVerdict {
  readonly leaves: number;
  readonly root: Uint8Array;
  /** The largest checkpoint that the leaves agree with; undefined when there is none. */
  readonly agrees: TrustedCheckpoint | undefined;
  readonly problem: LogProblem | undefined;
}

/** Judges a log leaf by leaf, from the first to the last, in constant memory.
 *
 * Trust comes from the checkpoints alone: what stands beside a leaf only helps to name the bad one. Whoever rewrites leaves
 * and all that is computed from them is found at the next checkpoint, and then one of the leaves since the last one is bad. */
export class LogJudge {
  readonly #checkpoints: readonly TrustedCheckpoint[];
  #next = 0;
  #agrees: TrustedCheckpoint | undefined;
  #problem: LogProblem | undefined;
  /** The tree of the leaves, and from the first difference on that of the stored hashes. */
  readonly #leaves = new Frontier();
  #hashes: Frontier | undefined;
  #firstDifference: number | undefined;
  /** The first place that was left out. */
  #gap: number | undefined;

  constructor(checkpoints: readonly TrustedCheckpoint[]) {
    // The log's own come first: when another one of the same size differs, the leaves are not what is wrong.
    const rank = ({ source }: TrustedCheckpoint) => (source === "log" ? 0 : 1);
    this.#checkpoints = [...checkpoints].sort((a, b) => a.size - b.size || rank(a) - rank(b));
    this.#compare();
  }

  /** True once something is wrong beyond doubt: more leaves change nothing. */
  get isDecided(): boolean {
    return this.#problem !== undefined;
  }

  /** Takes the next leaf. */
  add({ index, leaf, ownIndex = index, storedHash }: LoggedLeaf): void {
    if (this.isDecided) return;
    if (this.#gap !== undefined) {
      // What seemed to be gone stands further behind.
      if (index === this.#gap) this.#fail({ kind: "reordered", firstBadLeaf: this.#gap });
      return;
    }
    const expected = this.#leaves.size;
    if (index !== expected || ownIndex !== expected) {
      if (index > expected && ownIndex === index) this.#gap = expected;
      else this.#fail({ kind: "reordered", firstBadLeaf: expected });
      return;
    }
    const hash = hashLeaf(leaf);
    if (storedHash !== undefined && this.#firstDifference === undefined) {
      if (Buffer.compare(hash, storedHash) !== 0) {
        this.#firstDifference = expected;
        this.#hashes = new Frontier(this.#leaves);
      }
    }
    this.#leaves.append(hash);
    this.#hashes?.append(storedHash ?? hash);
    this.#compare();
  }

  /** Ends the judgement after the last leaf. */
  finish(): LogVerdict {
    const leaves = this.#leaves.size;
    if (this.#gap !== undefined && !this.isDecided) {
      this.#fail({ kind: "missing", firstBadLeaf: this.#gap });
    }
    const beyond = this.#checkpoints[this.#next];
    if (!this.isDecided && beyond !== undefined) {
      this.#fail({ kind: "truncated", firstBadLeaf: leaves, source: beyond.source });
    }
    const signed = this.#agrees?.size ?? 0;
    if (!this.isDecided && this.#firstDifference !== undefined) {
      const kind = this.#firstDifference < signed ? "hash" : "edited";
      this.#problem = { kind, firstBadLeaf: this.#firstDifference };
    }
    if (!this.isDecided && signed < leaves) {
      this.#problem = { kind: "unsigned", firstBadLeaf: signed };
    }
    return { leaves, root: this.#leaves.root(), agrees: this.#agrees, problem: this.#problem };
  }

  #compare(): void {
    const size = this.#leaves.size;
    for (
      let checkpoint = this.#checkpoints[this.#next];
      checkpoint?.size === size && !this.isDecided;
      checkpoint = this.#checkpoints[++this.#next]
    ) {
      if (Buffer.compare(this.#leaves.root(), checkpoint.root) === 0) this.#agrees = checkpoint;
      else this.#disagree(checkpoint);
    }
  }

  #disagree({ root, size, source }: TrustedCheckpoint): void {
    const after = this.#agrees?.size ?? 0;
    const isLeafBad = this.#hashes !== undefined && Buffer.compare(this.#hashes.root(), root) === 0;
    if (isLeafBad) {
      this.#problem = { kind: "edited", firstBadLeaf: this.#firstDifference ?? after, source };
      return;
    }
    const isLast = size - after <= 1;
    const range = { firstBadLeaf: Math.min(after, size), ...(isLast ? {} : { before: size }) };
    this.#problem = { kind: source === "log" ? "edited" : "forked", ...range, source };
  }

  /** A leaf that differs from its stored hash comes before what was found behind it. */
  #fail(problem: LogProblem): void {
    const earlier = this.#firstDifference;
    this.#problem = earlier === undefined ? problem : { kind: "edited", firstBadLeaf: earlier };
  }
}
