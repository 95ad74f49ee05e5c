import { randomUUID } from "node:crypto";
import { StateService, type StateWriteResult } from "@nexus/proto/mesh";
import {
  createRpcClient,
  type RpcChannel,
  type RpcClient,
  type TokenSource,
} from "@nexus/rpc/client";
import { type Batcher, createBatcher, MiB, NexusError } from "@nexus/shared";
import { type SessionCalls, throughSession } from "./session-calls.ts";
import {
  type Bucket,
  type ListOptions,
  type State,
  StateConflict,
  type StateEntry,
  type StateWrite,
  type StateWritten,
} from "./state.ts";
import {
  deleteOf,
  incrementOf,
  putOf,
  resolveOf,
  toEntry,
  toWritten,
  tryRefusal,
  type WriteInit,
  writeBytes,
  writeOf,
} from "./state-values.ts";
import { watchBucket } from "./watch-bucket.ts";

/** In the name of which task state is written. */
export interface WritingTask {
  readonly taskId: string;
  readonly fence: bigint;
  /** Aborts when the lease is over. */
  readonly signal: AbortSignal;
}

/** Writes of one call; the contract's limit. */
const WRITES_MAX = 512;
/** Bytes of one call: below the limit of a message. */
const CALL_BYTES_MAX = 2 * MiB;
const WRITES_QUEUED_MAX = 10_000;
/** Keys of one call, the contract's limit; reads that wait, and calls at once. */
const READS_MAX = 256;
const READS_QUEUED_MAX = 10_000;
const READS_AT_ONCE = 4;
/** One call of an agent, its repetitions included. */
const CALL_TIMEOUT_MS = 10_000;
const UPDATES_MAX = 20;
const PAGE_SIZE = 200;

/** Gives access to buckets over a client's channel, in the name of a task if there is one. */
export function createState(client: RpcClient<typeof StateService>, task?: WritingTask): State {
  return { bucket: <T>(name: string) => new RemoteBucket<T>(client, name, task) };
}

/** Access to state, in the name of a task if there is one. */
export type StateAccess = (task?: WritingTask) => State;

/** Creates what gives agents and their tasks access to state: through their session, where that has room. */
export function createStateAccess(
  channel: RpcChannel,
  tokens: TokenSource,
  session: SessionCalls,
): StateAccess {
  const calls = createRpcClient(StateService, channel, {
    tokens,
    timeoutMs: CALL_TIMEOUT_MS,
    attemptsMax: Number.POSITIVE_INFINITY,
  });
  const client = throughSession(calls, session, CALL_TIMEOUT_MS);
  return (task) => createState(client, task);
}

/** A bucket behind the gateway. */
class RemoteBucket<T> implements Bucket<T> {
  readonly name: string;
  readonly #client: RpcClient<typeof StateService>;
  readonly #task: WritingTask | undefined;
  // Made at first use.
  #reads: Batcher<string, StateEntry<T> | undefined> | undefined;
  #writes: Batcher<WriteInit, StateWriteResult | Error> | undefined;

  constructor(client: RpcClient<typeof StateService>, name: string, task: WritingTask | undefined) {
    this.name = name;
    this.#client = client;
    this.#task = task;
  }

  get(key: string): Promise<StateEntry<T> | undefined> {
    this.#reads ??= createBatcher({
      name: "state read",
      maxItems: READS_MAX,
      maxDelayMs: 0,
      maxQueued: READS_QUEUED_MAX,
      concurrency: READS_AT_ONCE,
      flush: async (keys) => {
        const found = await this.getMany([...new Set(keys)]);
        return keys.map((one) => found.get(one));
      },
    });
    return this.#reads.add(key);
  }

  async getMany(keys: readonly string[]): Promise<ReadonlyMap<string, StateEntry<T>>> {
    const found = new Map<string, StateEntry<T>>();
    let left = [...keys];
    while (left.length > 0) {
      const request = { bucket: this.name, keys: left };
      const { entries, unreadKeys } = await this.#client.batchGetEntries(request);
      for (const entry of entries) found.set(entry.key, toEntry(entry));
      left = unreadKeys;
    }
    return found;
  }

  async *list(options: ListOptions = {}): AsyncGenerator<StateEntry<T>> {
    let pageToken = "";
    do {
      const page = { pageSize: PAGE_SIZE, pageToken };
      const found = await this.#client.listEntries({ bucket: this.name, ...options, page });
      for (const entry of found.entries) yield toEntry(entry);
      pageToken = found.page?.nextPageToken ?? "";
    } while (pageToken !== "");
  }

  put(key: string, value: T, options?: Parameters<Bucket<T>["put"]>[2]): Promise<StateWritten> {
    return this.#write(putOf(key, value, options));
  }

  delete(key: string, options?: Parameters<Bucket<T>["delete"]>[1]): Promise<StateWritten> {
    return this.#write(deleteOf(key, options));
  }

  async increment(key: string, by: bigint | number = 1n): Promise<bigint> {
    return (await this.#write(incrementOf(key, by))).counter;
  }

  resolve(entry: StateEntry<T>, value: T | undefined): Promise<StateWritten> {
    return this.#write(resolveOf(entry, value));
  }

  async update(key: string, change: (value: T | undefined) => T): Promise<StateWritten> {
    let current = await this.get(key);
    for (let made = 1; ; made += 1) {
      const expectedRevision = current?.revision ?? 0n;
      try {
        return await this.put(key, change(current?.value), { expectedRevision });
      } catch (error) {
        if (!(error instanceof StateConflict) || made >= UPDATES_MAX) throw error;
        current = (error.current as StateEntry<T> | undefined) ?? (await this.get(key));
      }
    }
  }

  async transact(
    writes: readonly StateWrite<T>[],
    revisions: Readonly<Record<string, bigint>> = {},
  ): Promise<readonly StateWritten[]> {
    const preconditions = Object.entries(revisions).map(([key, revision]) => ({ key, revision }));
    const asked = { ...this.#call(), preconditions, writes: writes.map(writeOf) };
    const { results } = await this.#underLease(() => this.#client.transact(asked));
    return results.map(toWritten);
  }

  watch(options: Parameters<Bucket<T>["watch"]>[0] = {}) {
    return watchBucket<T>(this.#client, this.name, options);
  }

  async #write(write: WriteInit): Promise<StateWritten> {
    this.#writes ??= createBatcher({
      name: "state write",
      maxItems: WRITES_MAX,
      maxDelayMs: 0,
      maxQueued: WRITES_QUEUED_MAX,
      // One call after the other keeps the writes of this program in their order.
      flush: (batch) => this.#send(batch),
    });
    const result = await this.#writes.add(write);
    if (result instanceof Error) throw result;
    const refusal = tryRefusal(result);
    if (refusal !== undefined) throw refusal;
    return toWritten(result);
  }

  /** A call that fails fails its own writes only. */
  async #send(batch: readonly WriteInit[]): Promise<(StateWriteResult | Error)[]> {
    const results: (StateWriteResult | Error)[] = [];
    for (const writes of inCalls(batch)) {
      const call = { ...this.#call(), writes };
      try {
        const answer = await this.#underLease(() => this.#client.writeEntries(call));
        results.push(...answer.results);
      } catch (error) {
        const failure = error instanceof Error ? error : NexusError.from(error);
        results.push(...writes.map(() => failure));
      }
    }
    return results;
  }

  /** A call that is repeated has the same request id, so that it counts once. */
  #call() {
    const { name: bucket } = this;
    const requestId = randomUUID();
    if (this.#task === undefined) return { requestId, bucket };
    const { taskId, fence } = this.#task;
    return { requestId, bucket, task: { taskId, fence } };
  }

  /** A task whose lease is over hears that, whatever the call itself came to. */
  async #underLease<R>(call: () => Promise<R>): Promise<R> {
    const signal = this.#task?.signal;
    signal?.throwIfAborted();
    try {
      return await call();
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
  }
}

function inCalls(batch: readonly WriteInit[]): WriteInit[][] {
  const calls: WriteInit[][] = [];
  let bytes = 0;
  for (const write of batch) {
    const size = writeBytes(write);
    bytes += size;
    const call = calls.at(-1);
    if (call !== undefined && bytes <= CALL_BYTES_MAX) call.push(write);
    else {
      calls.push([write]);
      bytes = size;
    }
  }
  return calls;
}
