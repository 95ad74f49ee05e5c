/** A key as it stands, whatever its bucket's policy. */
import type { HybridTime } from "./hybrid-time.ts";
import { VERSION_OVERHEAD_BYTES } from "./state-limits.ts";

/** Who wrote something, and why. */
export interface Origin {
  /** Empty for what the router did itself. */
  readonly principalId: string;
  /** Empty for a write in the name of no task. */
  readonly taskId: string;
  readonly fence: bigint;
  readonly traceId: string;
  /** Database time. */
  readonly atMs: number;
}

/** One value. */
export interface Version {
  /** The revision at which it was written. */
  readonly id: bigint;
  readonly contentType: string;
  /** Empty where it was not read: see `partial` of the entry. */
  readonly data: Uint8Array;
  readonly origin: Origin;
}

/** What was added to a counter, and what was taken away: two numbers that only grow. */
export interface Tally {
  readonly plus: bigint;
  readonly minus: bigint;
}

/** A key with its last change. */
export interface Entry {
  readonly key: string;
  readonly revision: bigint;
  /** Empty for a counter and for a deleted key. Rising ids. */
  readonly versions: readonly Version[];
  readonly tally: Tally | undefined;
  /** LWW only. */
  readonly time: HybridTime | undefined;
  /** Of the last change. */
  readonly origin: Origin;
  readonly expiresAtMs: number | undefined;
  readonly deleted: boolean;
  /** What counts against the quota. */
  readonly sizeBytes: number;
  /** True when the values were not read: only what is known about them is there. */
  readonly partial: boolean;
}

/** What an entry is made from. */
export type EntryInit = Omit<
  Entry,
  "sizeBytes" | "versions" | "tally" | "expiresAtMs" | "partial"
> &
  Partial<Pick<Entry, "versions" | "tally" | "expiresAtMs">>;

/** Makes an entry and measures it. */
export function createEntry(init: EntryInit): Entry {
  const { versions = [], tally, expiresAtMs } = init;
  let sizeBytes = init.key.length + VERSION_OVERHEAD_BYTES;
  for (const { data } of versions) sizeBytes += data.byteLength + VERSION_OVERHEAD_BYTES;
  return { ...init, versions, tally, expiresAtMs, sizeBytes, partial: false };
}

/** The sum of a counter. */
export function sumOf({ tally }: Pick<Entry, "tally">): bigint {
  return tally === undefined ? 0n : tally.plus - tally.minus;
}

/** Says whether the key has a value at this moment. */
export function isLive(entry: Entry | undefined, nowMs: number): entry is Entry {
  return entry !== undefined && !entry.deleted && !isExpired(entry, nowMs);
}

/** Says whether a key's time is over, noticed or not. */
export function isExpired({ expiresAtMs, deleted }: Entry, nowMs: number): boolean {
  return !deleted && expiresAtMs !== undefined && expiresAtMs <= nowMs;
}

/** When a deleted key may be forgotten: writes of before its deletion are then too old to be taken. That deletion may be ahead of the
 * database. */
export function forgottenAtMs(
  { origin, time }: Pick<Entry, "origin" | "time">,
  rememberedMs: number,
): number {
  return Math.max(origin.atMs, time?.physicalMs ?? 0) + rememberedMs;
}

/** What happened to a key. */
export type ChangeKind = "put" | "delete" | "expire";

/** One change of one key. Its revision is the entry's. */
export interface Change {
  readonly kind: ChangeKind;
  readonly entry: Entry;
}
