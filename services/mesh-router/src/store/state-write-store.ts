/** Writes of state by group commit: lock, read, decide in memory, write. Two round trips and a commit for however many calls. */
import {
  boolArray,
  byteaArray,
  int2Array,
  int4Array,
  int8Array,
  type Pool,
  type Queryable,
  textArray,
  together,
  uuidArray,
  withTransaction,
} from "@nexus/postgres";
import { backoffDelayMs, NexusError, sleep } from "@nexus/shared";
import { type Entry, forgottenAtMs } from "../domain/state/entry.ts";
import {
  packChanges,
  packEntry,
  packResults,
  unpackEntry,
  unpackResults,
} from "../domain/state/entry-codec.ts";
import { type KnownCall, Ledger, type LedgerOutcome } from "../domain/state/ledger.ts";
import { CALL_TOO_LARGE, GIVEN_UP, noBucket } from "../domain/state/refusals.ts";
import { STORED_BYTES_MAX } from "../domain/state/state-limits.ts";
import type { ChangeGroup, WriteStore } from "../domain/state/state-ports.ts";
import type { CallResult, Op, WriteCall } from "../domain/state/write.ts";
import { PLAN_BY_KEY } from "./mail-sql.ts";
import { type BucketRow, toBucket } from "./state-bucket-row.ts";
import {
  COUNT_BUCKETS,
  FIND_ENTRIES,
  FIND_REQUESTS,
  FORGET_ENTRIES,
  LOCK_BUCKETS,
  LOG_CHANGES,
  NOTE_REQUESTS,
  PUT_ENTRIES,
  READ_CLOCK,
  SHORT_LOCKS,
} from "./state-sql.ts";

/** While the database is away, callers wait: each call has its own deadline. */
const RETRY = { initialMs: 20, multiplier: 3, maxMs: 500, jitter: 0.3 };
const ATTEMPTS_MAX = 4;

/** What the store is made from. */
export interface WriteStoreInit {
  readonly pool: Pool;
  /** How long deleted keys are remembered. */
  readonly rememberedMs: number;
  /** Hears what was committed, in the order of commits. */
  readonly onCommitted: (groups: readonly ChangeGroup[]) => void;
}

/** Results by call. */
type Results = Map<WriteCall, CallResult | Error>;

/** Creates the store. */
export function createWriteStore(init: WriteStoreInit): WriteStore {
  return {
    commit: async (calls) => {
      const results: Results = new Map();
      await commitSome(init, calls, results);
      return calls.map((call) => results.get(call) as CallResult | Error);
    },
  };
}

/** What cannot be committed together is tried apart: by bucket first, then one by one, so that one spoils only itself. */
async function commitSome(
  init: WriteStoreInit,
  calls: readonly WriteCall[],
  results: Results,
): Promise<void> {
  const wanted = leaveOut(calls, results);
  if (wanted.length === 0) return;
  try {
    const postponed = await commitOrRetry(init, wanted, results);
    for (const call of postponed) await commitSome(init, [call], results);
  } catch (error) {
    const parts = partsOf(wanted, error);
    if (parts.length > 1) for (const part of parts) await commitSome(init, part, results);
    else for (const call of wanted) results.set(call, NexusError.from(error));
  }
}

/** Answers calls for which nobody waits before any lock is waited for; the others. */
function leaveOut(calls: readonly WriteCall[], results: Results): readonly WriteCall[] {
  return calls.filter((call) => {
    const isGivenUp = call.isGivenUp();
    if (isGivenUp) results.set(call, { kind: "refused", refusal: GIVEN_UP });
    return !isGivenUp;
  });
}

function isAway(error: unknown): boolean {
  return NexusError.is(error, "unavailable");
}

/** A bucket that is held up holds up only its own calls; of those of one bucket, what the database refuses is one's own. */
function partsOf(calls: readonly WriteCall[], error: unknown): readonly (readonly WriteCall[])[] {
  if (isAway(error)) return [calls];
  const byBucket = groupBy(calls, bucketKey);
  if (byBucket.size > 1) return [...byBucket.values()];
  return isRefusal(error) ? calls.map((call) => [call]) : [calls];
}

/** Says whether the database refuses what it was given, whatever its own state. */
function isRefusal(error: unknown): boolean {
  const { kind } = NexusError.from(error);
  return kind === "invalid" || kind === "internal" || kind === "precondition";
}

/** Safe after a commit of which nobody knows: calls have names, and a sweep that repeats itself finds nothing. What fails after such a
 * commit may be done all the same, so its callers are told that, and not why the repeat failed. */
async function commitOrRetry(
  init: WriteStoreInit,
  calls: readonly WriteCall[],
  results: Results,
): Promise<readonly WriteCall[]> {
  let unknown: unknown;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await commitTogether(init, calls, results);
    } catch (error) {
      if (NexusError.from(error).reason === "COMMIT_OUTCOME_UNKNOWN") unknown = error;
      if (!isAway(error) || attempt >= ATTEMPTS_MAX) throw unknown ?? error;
    }
    await sleep(backoffDelayMs(attempt, RETRY));
  }
}

/** What one transaction decided. */
interface Decided {
  readonly results: Results;
  readonly groups: readonly ChangeGroup[];
  readonly postponed: readonly WriteCall[];
}

async function commitTogether(
  { pool, rememberedMs, onCommitted }: WriteStoreInit,
  calls: readonly WriteCall[],
  results: Results,
): Promise<readonly WriteCall[]> {
  const decided = await withTransaction(pool, async (client): Promise<Decided> => {
    const ledgers = await openLedgers(client, calls, rememberedMs);
    const decision = decideCalls(calls, ledgers);
    const outcomes = [...ledgers.values()].map(({ outcome }) => outcome);
    await write(client, outcomes, rememberedMs);
    return { ...decision, groups: outcomes.filter(hasChanges) };
  });
  for (const [call, result] of decided.results) results.set(call, result);
  onCommitted(decided.groups);
  return decided.postponed;
}

function hasChanges({ changes }: LedgerOutcome): boolean {
  return changes.length > 0;
}

function decideCalls(
  calls: readonly WriteCall[],
  ledgers: ReadonlyMap<string, Ledger>,
): Omit<Decided, "groups"> {
  const results: Results = new Map();
  const postponed: WriteCall[] = [];
  for (const call of calls) {
    const ledger = ledgers.get(bucketKey(call));
    if (ledger === undefined) {
      results.set(call, { kind: "refused", refusal: noBucket(call.bucket) });
    } else if (ledger.canApply(call)) {
      results.set(call, ledger.apply(call));
    } else if (calls.length > 1) {
      postponed.push(call);
    } else {
      results.set(call, { kind: "refused", refusal: CALL_TOO_LARGE });
    }
  }
  return { results, postponed };
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}

function bucketKey({ namespace, bucket }: WriteCall): string {
  return `${namespace}/${bucket}`;
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

/** Locks the buckets and reads what the calls are about, in one round trip. */
async function openLedgers(
  client: Queryable,
  calls: readonly WriteCall[],
  rememberedMs: number,
): Promise<ReadonlyMap<string, Ledger>> {
  const places = new Map<string, number>();
  for (const call of calls) {
    const key = bucketKey(call);
    if (!places.has(key)) places.set(key, places.size + 1);
  }
  const names = [...places.keys()].map((key) => key.split("/") as [string, string]);
  const buckets = [textArray(names.map(([n]) => n)), textArray(names.map(([, n]) => n))];
  const named = calls.filter(({ name }) => name !== undefined);
  const at = (call: WriteCall): number => places.get(bucketKey(call)) as number;
  const [, , locked, clock, entries, requests] = await together(
    client.query(PLAN_BY_KEY),
    client.query(SHORT_LOCKS),
    client.query<BucketRow>(LOCK_BUCKETS, buckets),
    client.query<{ now_ms: number }>(READ_CLOCK),
    client.query<EntryRow>(FIND_ENTRIES, [...buckets, ...keysOf(calls, at), STORED_BYTES_MAX]),
    client.query<RequestRow>(FIND_REQUESTS, [
      ...buckets,
      int4Array(named.map(at)),
      uuidArray(named.map(({ name }) => name?.key ?? null)),
    ]),
  );
  const entriesOf = groupBy(entries.rows, (row) => row.bucket_id);
  const requestsOf = groupBy(requests.rows, (row) => row.bucket_id);
  const nowMs = clock.rows[0]?.now_ms as number;
  return new Map(
    locked.rows.map((row) => {
      const bucket = toBucket(row);
      const found = (entriesOf.get(row.bucket_id) ?? []).map(toEntry);
      const ledger = new Ledger({
        rules: bucket,
        counts: bucket,
        entries: new Map(found.map((entry) => [entry.key, entry])),
        known: new Map((requestsOf.get(row.bucket_id) ?? []).map(toKnown)),
        nowMs,
        rememberedMs,
      });
      return [`${bucket.namespace}/${bucket.name}`, ledger];
    }),
  );
}

/** The keys that the calls are about, each once, and whether its values are of interest. */
function keysOf(calls: readonly WriteCall[], at: (call: WriteCall) => number): Buffer[] {
  const wanted = new Map<string, { at: number; key: string; withValue: boolean }>();
  for (const call of calls) {
    const place = at(call);
    for (const { key } of call.preconditions) note(wanted, place, key, false);
    for (const op of call.ops) note(wanted, place, op.key, mayLose(op));
  }
  const keys = [...wanted.values()];
  return [
    int4Array(keys.map((one) => one.at)),
    textArray(keys.map(({ key }) => key)),
    boolArray(keys.map(({ withValue }) => withValue)),
  ];
}

function note(
  wanted: Map<string, { at: number; key: string; withValue: boolean }>,
  at: number,
  key: string,
  withValue: boolean,
): void {
  const name = `${at}/${key}`;
  const known = wanted.get(name);
  if (known === undefined) wanted.set(name, { at, key, withValue });
  else known.withValue ||= withValue;
}

/** Whoever loses to what is stored is shown it. */
function mayLose(op: Op): boolean {
  if (op.kind !== "put" && op.kind !== "delete") return false;
  return op.expectedRevision !== undefined || op.time !== undefined;
}

function toEntry({ key, revision, meta, content }: EntryRow): Entry {
  return unpackEntry(key, BigInt(revision), meta, content ?? undefined);
}

function toKnown({ key, body_hash, results }: RequestRow): [string, KnownCall] {
  return [key, { bodyHash: BigInt(body_hash), results: unpackResults(results) }];
}

/** Statements that run in the order in which they are begun. */
async function write(
  client: Queryable,
  outcomes: readonly LedgerOutcome[],
  rememberedMs: number,
): Promise<void> {
  await together(
    putEntries(client, outcomes, rememberedMs),
    forgetEntries(client, outcomes),
    logChanges(client, outcomes),
    noteRequests(client, outcomes),
  );
}

const nothing: Promise<unknown> = Promise.resolve();

function putEntries(
  client: Queryable,
  outcomes: readonly LedgerOutcome[],
  rememberedMs: number,
): Promise<unknown> {
  const rows = outcomes.flatMap(({ bucketId, rows: changed }) =>
    [...changed.values()]
      .filter((entry) => entry !== undefined)
      .map((entry) => ({
        bucketId,
        entry,
        dueMs: dueOf(entry, rememberedMs),
        ...packEntry(entry),
      })),
  );
  if (rows.length === 0) return nothing;
  return client.query(PUT_ENTRIES, [
    int8Array(rows.map(({ bucketId }) => bucketId)),
    textArray(rows.map(({ entry }) => entry.key)),
    int8Array(rows.map(({ entry }) => entry.revision)),
    textArray(rows.map(({ meta }) => meta)),
    byteaArray(rows.map(({ values }) => values)),
    int4Array(rows.map(({ entry }) => entry.sizeBytes)),
    int2Array(rows.map(({ entry }) => entry.versions.length)),
    boolArray(rows.map(({ entry }) => entry.deleted)),
    int8Array(rows.map(({ dueMs }) => (dueMs === undefined ? null : Math.ceil(dueMs)))),
  ]);
}

function dueOf(entry: Entry, rememberedMs: number): number | undefined {
  return entry.deleted ? forgottenAtMs(entry, rememberedMs) : entry.expiresAtMs;
}

function forgetEntries(client: Queryable, outcomes: readonly LedgerOutcome[]): Promise<unknown> {
  const gone = outcomes.flatMap(({ bucketId, rows }) =>
    [...rows].filter(([, entry]) => entry === undefined).map(([key]) => ({ bucketId, key })),
  );
  if (gone.length === 0) return nothing;
  return client.query(FORGET_ENTRIES, [
    int8Array(gone.map(({ bucketId }) => bucketId)),
    textArray(gone.map(({ key }) => key)),
  ]);
}

/** The log's rows, then the counts: a purge changes these alone. */
async function logChanges(client: Queryable, outcomes: readonly LedgerOutcome[]): Promise<void> {
  const changed = outcomes.filter(({ rows }) => rows.size > 0);
  if (changed.length === 0) return;
  const packed = new Map(outcomes.filter(hasChanges).map((one) => [one, packChanges(one.changes)]));
  const logged = [...packed.keys()];
  await together(
    logged.length === 0
      ? nothing
      : client.query(LOG_CHANGES, [
          int8Array(logged.map(({ bucketId }) => bucketId)),
          int8Array(logged.map(({ changes }) => changes[0]?.entry.revision ?? 0n)),
          int8Array(logged.map(({ changes }) => changes.at(-1)?.entry.revision ?? 0n)),
          byteaArray([...packed.values()]),
        ]),
    client.query(COUNT_BUCKETS, [
      int8Array(changed.map(({ bucketId }) => bucketId)),
      int8Array(changed.map(({ counts }) => counts.revision)),
      int8Array(changed.map(({ counts }) => counts.keys)),
      int8Array(changed.map(({ counts }) => counts.tombstones)),
      int8Array(changed.map(({ counts }) => counts.bytes)),
      int8Array(changed.map((one) => packed.get(one)?.byteLength ?? 0)),
    ]),
  );
}

function noteRequests(client: Queryable, outcomes: readonly LedgerOutcome[]): Promise<unknown> {
  const calls = outcomes.flatMap(({ bucketId, calls: made }) =>
    made.map((call) => ({ bucketId, ...call })),
  );
  if (calls.length === 0) return nothing;
  return client.query(NOTE_REQUESTS, [
    int8Array(calls.map(({ bucketId }) => bucketId)),
    uuidArray(calls.map(({ key }) => key)),
    int8Array(calls.map(({ bodyHash }) => bodyHash)),
    textArray(calls.map(({ results }) => packResults(results))),
  ]);
}
