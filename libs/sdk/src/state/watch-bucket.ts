import { StateChangeKind, type StateService, type WatchBucketResponse } from "@nexus/proto/mesh";
import type { RpcClient } from "@nexus/rpc/client";
import { backoffDelayMs, NexusError, sleep } from "@nexus/shared";
import type { StateEvent, WatchOptions } from "./state.ts";
import { toEntry } from "./state-values.ts";

const RECONNECT = { initialMs: 100, multiplier: 2, maxMs: 5_000, jitter: 0.5 };
/** Streams that may break one after the other without a message between them. */
const FAILURES_MAX = 10;

const KINDS = {
  [StateChangeKind.UNSPECIFIED]: "put",
  [StateChangeKind.PUT]: "put",
  [StateChangeKind.DELETE]: "delete",
  [StateChangeKind.EXPIRE]: "expire",
} as const;

/** How far a watch has come. */
interface Place {
  /** Undefined until all keys were told. */
  after: bigint | undefined;
  /** Revisions of the keys that the snapshot told, so that a change it already holds is not told again. */
  readonly told: Map<string, bigint>;
  /** Broken streams since the last message. */
  failures: number;
  /** Tokens that were refused since the last message. */
  refusedTokens: number;
}

/** Follows a bucket until the signal aborts, over broken streams. */
export async function* watchBucket<T>(
  client: RpcClient<typeof StateService>,
  bucket: string,
  { prefix = "", after, signal }: WatchOptions,
): AsyncGenerator<StateEvent<T>, void> {
  const place: Place = { after, told: new Map(), failures: 0, refusedTokens: 0 };
  const isOver = (): boolean => signal?.aborted === true;
  while (!isOver()) {
    // Keys that were told by a stream that broke before it told all of them may be gone.
    if (place.after === undefined && place.told.size > 0) yield forget(place);
    let pauseMs = 0;
    const request = {
      bucket,
      prefix,
      ...(place.after === undefined ? {} : { resumeRevision: place.after }),
    };
    try {
      for await (const message of client.watchBucket(request, signal && { signal })) {
        Object.assign(place, { failures: 0, refusedTokens: 0 });
        yield* eventsOf<T>(message, place);
      }
    } catch (error) {
      if (isOver()) return;
      place.failures += 1;
      const failure = NexusError.from(error);
      if (isTokenRefused(failure)) place.refusedTokens += 1;
      if (place.failures >= FAILURES_MAX || !isWorthAnother(failure, place)) throw error;
      pauseMs = failure.details.retryAfterMs ?? 0;
    }
    const delayMs = backoffDelayMs(Math.max(1, place.failures), RECONNECT);
    await sleep(Math.max(delayMs, pauseMs), signal).catch(() => undefined);
  }
}

/** Also when the caller makes too many calls for the moment, and is told when to come again. A token may have ended on its way,
 * so one that is refused is tried anew, once; a refused password or secret is never: each try counts as a failed login. */
function isWorthAnother(failure: NexusError, { refusedTokens }: Place): boolean {
  const { kind, details } = failure;
  if (isTokenRefused(failure)) return refusedTokens === 1;
  return kind === "unavailable" || kind === "deadline" || details.retryAfterMs !== undefined;
}

function isTokenRefused({ kind, reason }: NexusError): boolean {
  return kind === "unauthenticated" && reason.startsWith("TOKEN_");
}

function forget(place: Place): StateEvent<never> {
  place.after = undefined;
  place.told.clear();
  return { kind: "resync" };
}

function* eventsOf<T>(message: WatchBucketResponse, place: Place): Generator<StateEvent<T>> {
  if (message.resync !== undefined) yield forget(place);
  for (const entry of message.entries) {
    place.told.set(entry.key, entry.revision);
    yield { kind: "entry", entry: toEntry(entry) };
  }
  if (message.snapshotComplete) {
    for (const [key, revision] of place.told) {
      if (revision <= message.revision) place.told.delete(key);
    }
    place.after = message.revision;
    yield { kind: "ready", revision: message.revision };
  }
  for (const { kind, entry } of message.changes) {
    if (entry === undefined) continue;
    place.after = entry.revision;
    const told = place.told.get(entry.key);
    if (told !== undefined && entry.revision <= told) continue;
    place.told.delete(entry.key);
    yield { kind: KINDS[kind], entry: toEntry(entry), revision: entry.revision };
  }
  // Changes of other keys are passed over by the server; a watch that goes on need not read them again.
  if (message.revision > (place.after ?? message.revision)) place.after = message.revision;
}
