/** Writes what a transaction decided about state: keys, the log, the counts and the answers. */
import {
  boolArray,
  byteaArray,
  int2Array,
  int4Array,
  int8Array,
  type Queryable,
  textArray,
  together,
  uuidArray,
} from "@nexus/postgres";
import { type Entry, forgottenAtMs } from "../domain/state/entry.ts";
import { EntryPacker, packResults } from "../domain/state/entry-codec.ts";
import type { LedgerOutcome } from "../domain/state/ledger.ts";
import {
  CHANGE_ENTRIES,
  COUNT_BUCKETS,
  FORGET_ENTRIES,
  LOG_CHANGES,
  NOTE_REQUESTS,
  PUT_ENTRIES,
} from "./state-sql.ts";

const nothing: Promise<unknown> = Promise.resolve();

/** Writes all of it, with statements that run in the order in which they are begun, and at once: a COMMIT may be behind them.
 *
 * Errors: also internal/DATABASE_ERROR when a key that was found is not there, which a locked bucket excludes. */
export async function writeOutcomes(
  client: Queryable,
  outcomes: readonly LedgerOutcome[],
  rememberedMs: number,
): Promise<void> {
  const packer = new EntryPacker();
  await together(
    putEntries(client, outcomes, { packer, rememberedMs }),
    forgetEntries(client, outcomes),
    logChanges(client, outcomes, packer),
    noteRequests(client, outcomes),
  );
}

/** A row of a key. */
interface Row {
  readonly bucketId: bigint;
  readonly entry: Entry;
}

async function putEntries(
  client: Queryable,
  outcomes: readonly LedgerOutcome[],
  how: { readonly packer: EntryPacker; readonly rememberedMs: number },
): Promise<void> {
  const known: Row[] = [];
  const fresh: Row[] = [];
  for (const { bucketId, rows, had } of outcomes) {
    for (const entry of rows.values()) {
      if (entry !== undefined) (had(entry.key) ? known : fresh).push({ bucketId, entry });
    }
  }
  const put = (statement: typeof PUT_ENTRIES, rows: readonly Row[]) =>
    rows.length === 0 ? nothing : client.query(statement, rowArrays(rows, how));
  await together(put(CHANGE_ENTRIES, known), put(PUT_ENTRIES, fresh));
}

function rowArrays(
  rows: readonly Row[],
  { packer, rememberedMs }: { readonly packer: EntryPacker; readonly rememberedMs: number },
): Buffer[] {
  const dueMs = rows.map(({ entry }) => dueOf(entry, rememberedMs));
  return [
    int8Array(rows.map(({ bucketId }) => bucketId)),
    textArray(rows.map(({ entry }) => entry.key)),
    int8Array(rows.map(({ entry }) => entry.revision)),
    textArray(rows.map(({ entry }) => packer.meta(entry))),
    byteaArray(rows.map(({ entry }) => packer.values(entry))),
    int4Array(rows.map(({ entry }) => entry.sizeBytes)),
    int2Array(rows.map(({ entry }) => entry.versions.length)),
    boolArray(rows.map(({ entry }) => entry.deleted)),
    int8Array(dueMs.map((ms) => (ms === undefined ? null : Math.ceil(ms)))),
  ];
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
async function logChanges(
  client: Queryable,
  outcomes: readonly LedgerOutcome[],
  packer: EntryPacker,
): Promise<void> {
  const changed = outcomes.filter(({ rows }) => rows.size > 0);
  if (changed.length === 0) return;
  const logged = changed.filter(({ changes }) => changes.length > 0);
  const packed = new Map(logged.map((one) => [one, packer.changes(one.changes)]));
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
