/** A bucket in memory, decided on by the same rules: for tests of what is built on it. */
import type { Bucket } from "./bucket.ts";
import type { Change, Entry } from "./entry.ts";
import { type KnownCall, Ledger } from "./ledger.ts";
import type { ReadStore } from "./state-ports.ts";
import type { CallResult, Op, Policy, WriteCall } from "./write.ts";

/** One bucket with its log. */
export class FakeBucket {
  readonly entries = new Map<string, Entry>();
  readonly log: Change[] = [];
  readonly #known = new Map<string, KnownCall>();
  bucket: Bucket;
  nowMs = 1_000_000;

  constructor(policy: Policy) {
    const quota = { keysMax: 1_000, bytesMax: 1e9, valueBytesMax: 1_000, watchersMax: 10 };
    this.bucket = {
      bucketId: 1n,
      namespace: "default",
      name: "fake",
      policy,
      quota,
      defaultTtlMs: undefined,
      revision: 1n,
      trimmedRevision: 1n,
      keys: 0,
      tombstones: 0,
      bytes: 0,
      createdAt: new Date(0),
      createdBy: "nobody",
    };
  }

  /** Commits one call. */
  commit(ops: readonly Op[], more: Partial<WriteCall> = {}): CallResult {
    const ledger = this.#ledger();
    const result = ledger.apply(callOf(ops, more));
    const { counts, rows, changes, calls } = ledger.outcome;
    this.bucket = { ...this.bucket, ...counts };
    for (const [key, entry] of rows) {
      if (entry === undefined) this.entries.delete(key);
      else this.entries.set(key, entry);
    }
    this.log.push(...changes);
    for (const { key, ...call } of calls) this.#known.set(key, call);
    return result;
  }

  /** Says whether what was read is enough to decide on. */
  canCommit(ops: readonly Op[]): boolean {
    return this.#ledger().canApply(callOf(ops, {}));
  }

  #ledger(): Ledger {
    return new Ledger({
      rules: this.bucket,
      counts: this.bucket,
      entries: this.entries,
      known: this.#known,
      nowMs: this.nowMs,
      rememberedMs: 10_000,
    });
  }

  /** Forgets the log up to a revision. */
  trim(revision: bigint): void {
    this.bucket = { ...this.bucket, trimmedRevision: revision };
    while (this.log[0] !== undefined && this.log[0].entry.revision <= revision) this.log.shift();
  }

  /** What a watch reads. */
  get reads(): ReadStore {
    const nothing = async (): Promise<never> => {
      throw new Error("not for watches");
    };
    return {
      read: nothing,
      readMany: nothing,
      sight: nothing,
      list: nothing,
      page: async ({ afterKey, prefix, limit }) => {
        const live = [...this.entries.values()]
          .filter(({ key, deleted }) => !deleted && key > afterKey && key.startsWith(prefix))
          .sort((a, b) => (a.key < b.key ? -1 : 1));
        const entries = live.slice(0, limit);
        return { entries, lastKey: live.length > limit ? entries.at(-1)?.key : undefined };
      },
      log: async (_, after) => {
        const changes = this.log.filter(({ entry }) => entry.revision > after).slice(0, 97);
        const groups = changes.length === 0 ? [] : [{ bucketId: 1n, changes }];
        return { bucket: this.bucket, groups };
      },
      moved: async () => ({ moved: [], gone: [] }),
    };
  }
}

function callOf(ops: readonly Op[], more: Partial<WriteCall>): WriteCall {
  return {
    namespace: "default",
    bucket: "fake",
    name: undefined,
    writer: { principalId: "alice", taskId: "", fence: 0n, traceId: "" },
    preconditions: [],
    atomic: false,
    isGivenUp: () => false,
    ops,
    ...more,
  };
}

/** Sets a value. */
export function putOp(key: string, value: string, more: object = {}): Op {
  return { kind: "put", key, contentType: "text/plain", data: Buffer.from(value), ...more };
}

/** What an entry says. */
export function valuesOf(entry: Entry | undefined): string[] {
  return (entry?.versions ?? []).map(({ data }) => Buffer.from(data).toString());
}
