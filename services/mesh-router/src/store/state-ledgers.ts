/** Opens buckets for one transaction: their rows are locked, and what the calls are about is read or remembered. */
import {
  boolArray,
  int4Array,
  type Queryable,
  textArray,
  together,
  uuidArray,
} from "@nexus/postgres";
import type { Bucket } from "../domain/state/bucket.ts";
import type { Entry } from "../domain/state/entry.ts";
import { unpackEntry, unpackResults } from "../domain/state/entry-codec.ts";
import type { KeyMemory, Remembered } from "../domain/state/key-memory.ts";
import { type KnownCall, Ledger } from "../domain/state/ledger.ts";
import { STORED_BYTES_MAX } from "../domain/state/state-limits.ts";
import type { Op, WriteCall } from "../domain/state/write.ts";
import { type BucketRow, toBucket } from "./state-bucket-row.ts";
import {
  BEGIN_WRITES,
  BUCKETS_THERE,
  FIND_ENTRIES,
  FIND_REQUESTS,
  LOCK_BUCKETS,
  LOCK_FREE_BUCKETS,
} from "./state-sql.ts";

/** A bucket that is locked. */
export interface OpenLedger {
  readonly name: string;
  readonly ledger: Ledger;
  /** As it was locked. */
  readonly bucket: Bucket;
  /** The keys that the calls are about, as they were then. */
  readonly found: ReadonlyMap<string, Entry>;
}

/** What could be opened. */
export interface OpenLedgers {
  /** By namespace and name. */
  readonly open: ReadonlyMap<string, OpenLedger>;
  /** Buckets that somebody else holds. */
  readonly held: ReadonlySet<string>;
}

/** How they are opened. */
export interface OpenInit {
  readonly memory: KeyMemory;
  readonly rememberedMs: number;
  /** False: a bucket that somebody else holds is left out. */
  readonly wait: boolean;
}

/** Names the bucket of a call. */
export function bucketKey({ namespace, bucket }: WriteCall): string {
  return `${namespace}/${bucket}`;
}

/** Groups items. */
export function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** A bucket, and when its lock was had. */
interface LockedRow extends BucketRow {
  readonly now_ms: number;
}

interface EntryRow {
  readonly bucket_id: string;
  readonly key: string;
  readonly revision: string;
  readonly meta: string;
  readonly content: Buffer | null;
}

interface RequestRow {
  readonly bucket_id: string;
  readonly key: string;
  readonly body_hash: string;
  readonly results: string;
}

/** One bucket as the calls want it. */
interface Wanted {
  readonly name: string;
  readonly calls: readonly WriteCall[];
  /** Taken at the beginning: what is remembered may change while the database is asked. */
  readonly memory: Pick<Remembered, "bucketId" | "revision"> | undefined;
  readonly remembered: Map<string, Entry>;
  /** Keys to be read, and whether their values are of interest. */
  readonly unknown: Map<string, boolean>;
}

/** Locks the buckets and reads what is not remembered, in one round trip; in two when somebody else has written since. */
export async function openLedgers(
  client: Queryable,
  calls: readonly WriteCall[],
  init: OpenInit,
): Promise<OpenLedgers> {
  const wanted = [...groupBy(calls, bucketKey)].map(([name, own]) =>
    wantedOf(name, own, init.memory),
  );
  const names = namesOf(wanted);
  const named = wanted.flatMap((one, at) =>
    one.calls
      .filter(({ name }) => name !== undefined)
      .map((call) => ({ at: at + 1, key: call.name?.key ?? null })),
  );
  const [, locked, entries, requests] = await together(
    client.query(BEGIN_WRITES),
    client.query<LockedRow>(init.wait ? LOCK_BUCKETS : LOCK_FREE_BUCKETS, names),
    findEntries(client, names, wanted),
    client.query<RequestRow>(FIND_REQUESTS, [
      ...names,
      int4Array(named.map(({ at }) => at)),
      uuidArray(named.map(({ key }) => key)),
    ]),
  );
  const buckets = new Map(
    locked.rows.map(toBucket).map((bucket) => [`${bucket.namespace}/${bucket.name}`, bucket]),
  );
  const overtaken = wanted.filter(isOvertaken(buckets));
  for (const one of overtaken) readAnew(one);
  const more = overtaken.length === 0 ? [] : await findEntries(client, names, wanted, overtaken);
  const entriesOf = groupBy([...entries, ...more], (row) => row.bucket_id);
  const requestsOf = groupBy(requests.rows, (row) => row.bucket_id);
  const nowMs = Math.max(...locked.rows.map((row) => row.now_ms));
  const open = new Map<string, OpenLedger>();
  for (const { name, remembered: found } of wanted) {
    const bucket = buckets.get(name);
    if (bucket === undefined) continue;
    const id = String(bucket.bucketId);
    for (const row of entriesOf.get(id) ?? []) found.set(row.key, toEntry(row));
    const known = new Map((requestsOf.get(id) ?? []).map(toKnown));
    const { rememberedMs } = init;
    const ledger = new Ledger({
      ...{ rules: bucket, counts: bucket, entries: found },
      ...{ known, nowMs, rememberedMs },
    });
    open.set(name, { name, ledger, bucket, found });
  }
  const held = init.wait || open.size === wanted.length ? NONE : await heldOf(client, names, open);
  return { open, held };
}

const NONE: ReadonlySet<string> = new Set();

/** Those that are there, and could not be locked. */
async function heldOf(
  client: Queryable,
  names: readonly Buffer[],
  open: ReadonlyMap<string, OpenLedger>,
): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<{ name: string }>(BUCKETS_THERE, names);
  return new Set(rows.map(({ name }) => name).filter((name) => !open.has(name)));
}

function wantedOf(name: string, calls: readonly WriteCall[], memory: KeyMemory): Wanted {
  const recalled = memory.recall(name);
  const remembered = new Map<string, Entry>();
  const unknown = new Map<string, boolean>();
  const want = (key: string, withValue: boolean): void => {
    const entry = recalled?.entries.get(key);
    if (entry !== undefined) remembered.set(key, entry);
    else unknown.set(key, withValue || unknown.get(key) === true);
  };
  for (const { preconditions, ops } of calls) {
    for (const { key } of preconditions) want(key, false);
    for (const op of ops) want(op.key, mayLose(op));
  }
  const { bucketId, revision } = recalled ?? {};
  const isKnown = bucketId !== undefined && revision !== undefined;
  const at = isKnown ? { bucketId, revision } : undefined;
  return { name, calls, memory: at, remembered, unknown };
}

/** Whoever loses to what is stored is shown it. */
function mayLose(op: Op): boolean {
  if (op.kind !== "put" && op.kind !== "delete") return false;
  return op.expectedRevision !== undefined || op.time !== undefined;
}

/** Says of which buckets what is remembered is past. */
function isOvertaken(buckets: ReadonlyMap<string, Bucket>) {
  return ({ name, memory, remembered }: Wanted): boolean => {
    const bucket = buckets.get(name);
    if (bucket === undefined || remembered.size === 0) return false;
    return bucket.bucketId !== memory?.bucketId || bucket.revision !== memory.revision;
  };
}

/** Only what was remembered: the others were read under the lock. */
function readAnew({ calls, remembered, unknown }: Wanted): void {
  unknown.clear();
  for (const key of remembered.keys()) unknown.set(key, false);
  for (const { ops } of calls) {
    for (const op of ops) if (remembered.has(op.key) && mayLose(op)) unknown.set(op.key, true);
  }
  remembered.clear();
}

function namesOf(wanted: readonly Wanted[]): readonly Buffer[] {
  const names = wanted.map(({ name }) => name.split("/") as [string, string]);
  return [textArray(names.map(([n]) => n)), textArray(names.map(([, n]) => n))];
}

async function findEntries(
  client: Queryable,
  names: readonly Buffer[],
  all: readonly Wanted[],
  wanted: readonly Wanted[] = all,
): Promise<readonly EntryRow[]> {
  const at: number[] = [];
  const keys: string[] = [];
  const withValues: boolean[] = [];
  for (const one of wanted) {
    const place = all.indexOf(one) + 1;
    for (const [key, withValue] of one.unknown) {
      at.push(place);
      keys.push(key);
      withValues.push(withValue);
    }
  }
  if (keys.length === 0) return [];
  const values = [...names, int4Array(at), textArray(keys), boolArray(withValues)];
  return (await client.query<EntryRow>(FIND_ENTRIES, [...values, STORED_BYTES_MAX])).rows;
}

function toEntry({ key, revision, meta, content }: EntryRow): Entry {
  return unpackEntry(key, BigInt(revision), meta, content ?? undefined);
}

function toKnown({ key, body_hash, results }: RequestRow): [string, KnownCall] {
  return [key, { bodyHash: BigInt(body_hash), results: unpackResults(results) }];
}
