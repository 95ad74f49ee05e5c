/** One watch of a bucket: keys as they are, then changes, without a gap that is not said. */
import { NexusError } from "@nexus/shared";
import type { Bucket } from "./bucket.ts";
import type { ChangeTails, TailHold } from "./change-tail.ts";
import type { Change, Entry } from "./entry.ts";
import { noBucket, toError } from "./refusals.ts";
import { ANSWER_BYTES_MAX, WATCH_ITEMS_MAX, WATCHERS_PER_NAMESPACE } from "./state-limits.ts";
import type { KeyPage, KeyQuery, ReadStore } from "./state-ports.ts";
import type { StateQueue } from "./state-queue.ts";

/** Why changes are missing. */
export type ResyncReason = "trimmed" | "unknown-revision";

/** What a watcher is told. */
export type WatchNews =
  | { readonly kind: "entries"; readonly entries: readonly Entry[] }
  /** All keys were told; changes behind the revision follow. */
  | { readonly kind: "complete"; readonly revision: bigint }
  /** May be empty: a sign of life. */
  | { readonly kind: "changes"; readonly changes: readonly Change[]; readonly revision: bigint }
  | { readonly kind: "resync"; readonly reason: ResyncReason; readonly oldestRevision: bigint };

/** What a watch is made from. */
export interface WatchInit {
  readonly bucket: Bucket;
  readonly prefix: string;
  /** Go on behind it; undefined: begin with the keys as they are. */
  readonly after: bigint | undefined;
  readonly signal: AbortSignal;
}

/** What watches need. */
export interface WatchDeps {
  readonly tails: ChangeTails;
  readonly reads: ReadStore;
  readonly queue: StateQueue;
  readonly onResync: (reason: ResyncReason) => void;
}

/** Counts who watches here. */
export class WatchRegister {
  readonly #counts = new Map<string, number>();

  /** Errors: exhausted/STATE_WATCHER_LIMIT. */
  enter({ namespace, bucketId, quota }: Bucket): () => void {
    const names = [`n/${namespace}`, `b/${bucketId}`] as const;
    this.#assertRoom(names[0], WATCHERS_PER_NAMESPACE, "the namespace");
    this.#assertRoom(names[1], quota.watchersMax, "the bucket");
    for (const name of names) this.#counts.set(name, this.#count(name) + 1);
    return () => {
      for (const name of names) {
        const left = this.#count(name) - 1;
        if (left === 0) this.#counts.delete(name);
        else this.#counts.set(name, left);
      }
    };
  }

  get size(): number {
    let sum = 0;
    for (const [name, count] of this.#counts) if (name.startsWith("b/")) sum += count;
    return sum;
  }

  #count(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  #assertRoom(name: string, max: number, what: string): void {
    if (this.#count(name) < max) return;
    throw new NexusError({
      kind: "exhausted",
      reason: "STATE_WATCHER_LIMIT",
      message: `This replica serves the limit of ${max} watches of ${what}.`,
    });
  }
}

/** Follows a bucket until the signal aborts. It reads at the pace of whoever takes the news.
 *
 * Errors: not_found/STATE_BUCKET_NOT_FOUND once the bucket is deleted. */
export async function* watchBucket(deps: WatchDeps, init: WatchInit): AsyncGenerator<WatchNews> {
  const { bucket, signal } = init;
  const hold = deps.tails.open(bucket.bucketId, bucket.revision);
  const onAbort = (): void => hold.wake();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const problem = init.after === undefined ? undefined : problemOf(init.after, bucket);
    let after = problem === undefined ? init.after : undefined;
    if (problem !== undefined) yield resync(deps, problem, bucket.trimmedRevision);
    while (!signal.aborted) {
      after ??= yield* snapshot(deps, init);
      after = yield* follow(deps, init, { hold, after });
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    hold.close();
  }
}

function problemOf(
  after: bigint,
  { revision, trimmedRevision }: Pick<Bucket, "revision" | "trimmedRevision">,
): ResyncReason | undefined {
  if (after > revision) return "unknown-revision";
  return after < trimmedRevision ? "trimmed" : undefined;
}

function resync(deps: WatchDeps, reason: ResyncReason, oldestRevision: bigint): WatchNews {
  deps.onResync(reason);
  return { kind: "resync", reason, oldestRevision };
}

/** The keys as they are. The revision is read before the first of them, so whatever changes meanwhile comes again as a change. */
async function* snapshot(
  { reads, queue }: WatchDeps,
  { bucket, prefix, signal }: WatchInit,
): AsyncGenerator<WatchNews, bigint> {
  const { bucketId } = bucket;
  const revision = await queue.scan(async () => {
    const { bucket: now } = await reads.log(bucketId, MAX_REVISION);
    return now?.revision;
  });
  if (revision === undefined) throw toError(noBucket(bucket.name));
  let afterKey: string | undefined = "";
  while (afterKey !== undefined && !signal.aborted) {
    const query: KeyQuery = { bucketId, prefix, afterKey, ...ALL_KEYS };
    const page: KeyPage = await queue.scan(() => reads.page(query));
    if (page.entries.length > 0) yield { kind: "entries", entries: page.entries };
    afterKey = page.lastKey;
  }
  yield { kind: "complete", revision };
  return revision;
}

const ALL_KEYS = { onlyConflicts: false, includeDeleted: false, limit: WATCH_ITEMS_MAX };
const MAX_REVISION = 2n ** 63n - 1n;

/** Tells changes until the signal aborts, or some are missing: then it returns undefined, and the keys have to be told again. */
async function* follow(
  deps: WatchDeps,
  init: WatchInit,
  from: { readonly hold: TailHold; readonly after: bigint },
): AsyncGenerator<WatchNews, bigint | undefined> {
  const { hold } = from;
  let { after } = from;
  // Whoever goes on behind a revision learns at once that the watch holds.
  let isSilent = true;
  for (;;) {
    const read = hold.read(after, WATCH_ITEMS_MAX);
    if (init.signal.aborted) return after;
    if (read.kind === "gone") throw toError(noBucket(init.bucket.name));
    if (read.kind === "behind") {
      const caughtUp = yield* catchUp(deps, init, after);
      if (caughtUp === undefined) return undefined;
      after = caughtUp;
    } else if (read.kind === "changes") {
      yield* told(read.changes, init.prefix);
      after = read.revision;
      isSilent = false;
    } else {
      if (isSilent) yield { kind: "changes", changes: [], revision: after };
      await hold.wait();
      isSilent = true;
    }
  }
}

/** Reads the log for a watcher that memory is past. */
async function* catchUp(
  deps: WatchDeps,
  { bucket, prefix }: WatchInit,
  after: bigint,
): AsyncGenerator<WatchNews, bigint | undefined> {
  const page = await deps.queue.scan(() => deps.reads.log(bucket.bucketId, after));
  if (page.bucket === undefined) throw toError(noBucket(bucket.name));
  const problem = problemOf(after, page.bucket);
  if (problem !== undefined) {
    yield resync(deps, problem, page.bucket.trimmedRevision);
    return undefined;
  }
  const changes = page.groups
    .flatMap((group) => group.changes)
    .filter(({ entry }) => entry.revision > after);
  const last = changes.at(-1);
  if (last === undefined) {
    // Never to be seen: what is behind a kept revision is kept. Telling everything again is right whatever happened.
    yield resync(deps, "trimmed", page.bucket.trimmedRevision);
    return undefined;
  }
  yield* told(changes, prefix);
  return last.entry.revision;
}

/** In messages of bounded size, those of other keys left out. */
function* told(changes: readonly Change[], prefix: string): Generator<WatchNews> {
  let part: Change[] = [];
  let bytes = 0;
  for (const change of changes) {
    const { entry } = change;
    if (!entry.key.startsWith(prefix)) continue;
    const isFull = part.length === WATCH_ITEMS_MAX || bytes + entry.sizeBytes > ANSWER_BYTES_MAX;
    if (isFull && part.length > 0) {
      yield { kind: "changes", changes: part, revision: (part.at(-1) as Change).entry.revision };
      part = [];
      bytes = 0;
    }
    part.push(change);
    bytes += entry.sizeBytes;
  }
  const last = changes.at(-1)?.entry.revision;
  if (part.length > 0 && last !== undefined) {
    yield { kind: "changes", changes: part, revision: last };
  }
}
