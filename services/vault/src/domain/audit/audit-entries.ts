import type { Tile, TileName } from "@nexus/merkle";
import type { Page, PageOf } from "../page.ts";

export type { Tile, TileName } from "@nexus/merkle";

/** An entry that is committed and has no place yet. */
export interface WaitingDraft {
  readonly entryNo: string;
  readonly draft: Buffer;
  /** Database time, microseconds since 1970. */
  readonly timeUs: bigint;
}

/** What the index knows of an entry. */
export interface EntryFacts {
  readonly service: string;
  readonly action: string;
  readonly namespace: string;
  readonly actor: string;
  readonly resource: string;
  readonly result: number;
}

/** A leaf at its place. */
export interface Leaf {
  readonly index: number;
  readonly leaf: Buffer;
}

/** A leaf about to be stored. */
export interface NewLeaf extends Leaf, EntryFacts {
  readonly timeUs: bigint;
}

/** A state of the log that was signed. */
export interface SignedState {
  readonly size: number;
  readonly root: Buffer;
  readonly note: string;
}

/** Continues the log, inside a transaction that alone may. */
export interface AuditExtension {
  latest(): Promise<SignedState | undefined>;
  /** The oldest drafts, in the order in which they were written. */
  waiting(limit: number): Promise<readonly WaitingDraft[]>;
  tiles(names: readonly TileName[]): Promise<readonly Tile[]>;
  /** Puts the leaves where the drafts were, and everything computed from them beside them. */
  extend(extension: {
    readonly drafts: readonly WaitingDraft[];
    readonly leaves: readonly NewLeaf[];
    readonly tiles: readonly Tile[];
    readonly state: SignedState;
  }): Promise<void>;
}

/** Which entries. Texts that are undefined do not matter. */
export interface EntryFilter {
  readonly namespace?: string | undefined;
  readonly fromMs?: number | undefined;
  readonly toMs?: number | undefined;
  readonly actor?: string | undefined;
  readonly action?: string | undefined;
  /** Any of these. */
  readonly resources?: readonly string[] | undefined;
  readonly result?: number | undefined;
}

/** Entries of another service, as it tells them. */
export interface ToldEntries {
  readonly service: string;
  readonly stream: string;
  readonly entries: readonly {
    readonly position: bigint;
    readonly draft: Uint8Array;
    readonly timeUs: bigint;
    /** Set for one that is not taken as it is. */
    readonly refusal?: EntryRefusal | undefined;
  }[];
}

/** Why an entry is not taken as it is, and the draft that says so in its place. */
export interface EntryRefusal {
  readonly problem: string;
  readonly notice: Uint8Array;
}

/** Judges an entry that a service tells; undefined when it is taken as it is. */
export type JudgeEntry = (entry: {
  readonly service: string;
  readonly stream: string;
  readonly position: bigint;
  readonly draft: Uint8Array;
  readonly timeUs: bigint;
}) => EntryRefusal | undefined;

/** The stored log. */
export interface AuditStore {
  /** Says whether anything waits for a place. */
  hasWaiting(): Promise<boolean>;
  /** Runs the work in a transaction that no other replica runs at the same time; false when another one is at it. */
  exclusively(work: (log: AuditExtension) => Promise<void>): Promise<boolean>;
  latest(): Promise<SignedState | undefined>;
  /** Some checkpoints up to a size, oldest first: the newest `limit / 2`, and as many others at even distances. */
  checkpoints(size: number, limit: number): Promise<readonly string[]>;
  tiles(names: readonly TileName[]): Promise<readonly Tile[]>;
  /** The newest first. Errors: invalid/PAGE_TOKEN_INVALID. */
  list(filter: EntryFilter, page: PageOf): Promise<Page<Leaf>>;
  /** In the order of the log, from an index up to, not including, another. */
  range(range: {
    readonly from: number;
    readonly to: number;
    readonly limit: number;
  }): Promise<readonly Leaf[]>;
  /** As range(), of those that the filter lets through. */
  following(
    filter: EntryFilter,
    range: { readonly from: number; readonly to: number; readonly limit: number },
  ): Promise<readonly Leaf[]>;
  /** Takes what is behind the last position; returns how far the stream is taken now, and how many entries notices were taken for.
   * Takes nothing and returns a position behind all of them when the entry at the last position taken is another one than before. */
  take(told: ToldEntries): Promise<{ readonly position: bigint; readonly quarantined: number }>;
}
