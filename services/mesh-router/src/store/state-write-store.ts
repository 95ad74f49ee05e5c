/** Writes of state by group commit: lock, read, decide in memory, write and commit. Two round trips for however many calls. */
import { type Pool, type Queryable, withTransaction } from "@nexus/postgres";
import { backoffDelayMs, NexusError, sleep } from "@nexus/shared";
import type { Entry } from "../domain/state/entry.ts";
import type { KeyMemory } from "../domain/state/key-memory.ts";
import type { LedgerOutcome } from "../domain/state/ledger.ts";
import { CALL_TOO_LARGE, GIVEN_UP, noBucket } from "../domain/state/refusals.ts";
import {
  type ChangeGroup,
  type CommitNotices,
  type CommitResult,
  HELD,
  type WriteStore,
} from "../domain/state/state-ports.ts";
import type { WriteCall } from "../domain/state/write.ts";
import {
  bucketKey,
  groupBy,
  type OpenLedger,
  type OpenLedgers,
  openLedgers,
} from "./state-ledgers.ts";
import { writeOutcomes } from "./state-rows.ts";
import { NOTIFY_CHANGES } from "./state-sql.ts";

/** Channel by which replicas without a bus hear of each other's changes. */
export const STATE_CHANNEL = "mesh_state";

/** While the database is away, callers wait: each call has its own deadline. */
const RETRY = { initialMs: 20, multiplier: 3, maxMs: 500, jitter: 0.3 };
const ATTEMPTS_MAX = 4;
const NOTICE_IDS_MAX = 300;

/** What the store is made from. */
export interface WriteStoreInit {
  readonly pool: Pool;
  /** How long deleted keys are remembered. */
  readonly rememberedMs: number;
  /** Learns what was committed. */
  readonly memory: KeyMemory;
  /** Undefined: others learn of commits by the bus. */
  readonly notices?: CommitNotices | undefined;
  /** Hears what was committed, in the order of commits. */
  readonly onCommitted: (groups: readonly ChangeGroup[]) => void;
}

/** Results by call. */
type Results = Map<WriteCall, CommitResult | typeof HELD>;

/** Calls that are committed with or without waiting for buckets that are held. */
interface Commit extends WriteStoreInit {
  readonly wait: boolean;
}

/** Creates the store. */
export function createWriteStore(init: WriteStoreInit): WriteStore {
  return {
    commit: async (calls) => {
      const results: Results = new Map();
      await commitSome({ ...init, wait: true }, calls, results);
      return calls.map((call) => results.get(call) as CommitResult);
    },
    commitFree: async (calls) => {
      const results: Results = new Map();
      await commitSome({ ...init, wait: false }, calls, results);
      return calls.map((call) => results.get(call) as CommitResult | typeof HELD);
    },
  };
}

/** What cannot be committed together is tried apart: by bucket first, then one by one, so that one spoils only itself. */
async function commitSome(
  init: Commit,
  calls: readonly WriteCall[],
  results: Results,
): Promise<void> {
  const wanted = leaveOut(calls, results);
  if (wanted.length === 0) return;
  try {
    const postponed = await commitOrRetry(init, wanted, results);
    for (const call of postponed) await commitSome(init, [call], results);
  } catch (error) {
    // The connection may have been to a server that is gone, and what another one holds may be older; or a row is not there any more.
    if (isAway(error) || isRefusal(error)) {
      for (const call of wanted) init.memory.forget(bucketKey(call));
    }
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

/** What fails for one bucket fails for its own calls only; of those of one bucket, what the database refuses is one's own. */
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
  init: Commit,
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
  readonly ledgers: readonly OpenLedger[];
  readonly outcomes: readonly LedgerOutcome[];
  readonly postponed: readonly WriteCall[];
}

async function commitTogether(
  init: Commit,
  calls: readonly WriteCall[],
  results: Results,
): Promise<readonly WriteCall[]> {
  const names = new Set(calls.map(bucketKey));
  const releases = [...names].map((name) => init.memory.hold(name));
  try {
    return await commitHolding(init, calls, results);
  } finally {
    for (const release of releases) release();
  }
}

async function commitHolding(
  { pool, rememberedMs, memory, notices, onCommitted, wait }: Commit,
  calls: readonly WriteCall[],
  results: Results,
): Promise<readonly WriteCall[]> {
  const decided = await withTransaction(pool, async (client): Promise<Decided> => {
    const opened = await openLedgers(client, calls, { memory, rememberedMs, wait });
    const decision = decideCalls(calls, opened);
    const ledgers = [...opened.open.values()];
    const outcomes = ledgers.map(({ ledger }) => ledger.outcome);
    await client.commitWith(
      writeOutcomes(client, outcomes, rememberedMs),
      notices === undefined ? Promise.resolve() : notify(client, notices, outcomes),
    );
    return { ...decision, ledgers, outcomes };
  });
  for (const [call, result] of decided.results) results.set(call, result);
  remember(memory, decided);
  onCommitted(decided.outcomes.filter(hasChanges));
  return decided.postponed;
}

/** A notice holds up to 8 000 bytes. Who misses some asks for what has changed, as it does now and then. */
async function notify(
  client: Queryable,
  { channel, source }: CommitNotices,
  outcomes: readonly LedgerOutcome[],
): Promise<void> {
  const ids = outcomes.filter(hasChanges).map(({ bucketId }) => bucketId);
  if (ids.length === 0) return;
  const notice = `${source}/${ids.slice(0, NOTICE_IDS_MAX).join(",")}`;
  await client.query(NOTIFY_CHANGES, [channel, notice]);
}

/** What was found holds at the revision at which the bucket was locked, what was written at that of the commit. */
function remember(memory: KeyMemory, { ledgers, outcomes }: Decided): void {
  for (const [at, { name, bucket, found }] of ledgers.entries()) {
    const { counts, rows } = outcomes[at] as LedgerOutcome;
    const { bucketId, revision } = bucket;
    memory.learn(name, {
      ...{ bucketId, revision, nextRevision: counts.revision },
      rows: rowsAfter(found, rows),
    });
  }
}

function* rowsAfter(
  found: ReadonlyMap<string, Entry>,
  changed: ReadonlyMap<string, Entry | undefined>,
): Generator<readonly [string, Entry | undefined]> {
  for (const row of found) if (!changed.has(row[0])) yield row;
  yield* changed;
}

function hasChanges({ changes }: LedgerOutcome): boolean {
  return changes.length > 0;
}

function decideCalls(
  calls: readonly WriteCall[],
  { open, held }: OpenLedgers,
): Pick<Decided, "results" | "postponed"> {
  const results: Results = new Map();
  const postponed: WriteCall[] = [];
  for (const call of calls) {
    const key = bucketKey(call);
    const ledger = open.get(key)?.ledger;
    if (held.has(key)) {
      results.set(call, HELD);
    } else if (ledger === undefined) {
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
