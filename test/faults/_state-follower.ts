/** A watcher of a bucket as a client keeps it: goes on behind the last revision it was told, whatever ended its stream. */
import type { StateEntry, StateService, WatchBucketResponse } from "@nexus/proto/mesh";
import type { RpcClient } from "@nexus/rpc";
import { NexusError, sleep } from "@nexus/shared";

const AGAIN_MS = 50;

/** Owns one watch, and what it was told. */
export class StateFollower {
  readonly #keys = new Map<string, StateEntry>();
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  /** Everything up to here is known. */
  revision = 0n;
  /** Told to forget everything. */
  resyncs = 0;
  /** Changes that did not follow on what was known, though nothing was said. */
  readonly gaps: string[] = [];

  constructor(client: RpcClient<typeof StateService>, bucket: string) {
    this.#done = this.#follow(client, bucket);
  }

  /** What it believes the bucket holds. */
  get entries(): ReadonlyMap<string, StateEntry> {
    return this.#keys;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #follow(client: RpcClient<typeof StateService>, bucket: string): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const from = this.revision === 0n ? {} : { resumeRevision: this.revision };
      try {
        for await (const news of client.watchBucket({ bucket, ...from }, { signal })) {
          this.#take(news);
        }
      } catch (error) {
        const { kind } = NexusError.from(error);
        if (kind !== "unavailable" && !signal.aborted) throw error;
      }
      await sleep(AGAIN_MS, signal).catch(() => undefined);
    }
  }

  #take({ resync, entries, changes, revision }: WatchBucketResponse): void {
    if (resync !== undefined) {
      this.resyncs += 1;
      this.#keys.clear();
      this.revision = 0n;
    }
    for (const entry of entries) this.#keys.set(entry.key, entry);
    for (const { entry } of changes) {
      if (entry === undefined) continue;
      // Within one message each change is one more than the last; between messages the first is one more than what was known.
      if (this.revision > 0n && entry.revision !== this.revision + 1n) {
        this.gaps.push(`${entry.revision} behind ${this.revision}`);
      }
      this.revision = entry.revision;
      this.#keys.set(entry.key, entry);
    }
    if (revision > this.revision) this.revision = revision;
  }
}
