/** Reads this replica's stream and everyone's, from where it stopped. */
import { backoffDelayMs, sleep } from "@nexus/shared";
import type { Redis } from "ioredis";
import { type Batch, tryDecodeBatch } from "../batch.ts";
import type { Way } from "../peer-book.ts";
import { replaceConnection, untilReady } from "./connection.ts";

/** Entries of each stream in one answer. */
const READ_ENTRIES_MAX = 32;
const BLOCK_MS = 1_000;
const RETRY_BACKOFF = { initialMs: 20, multiplier: 2, maxMs: 1_000, jitter: 0.3 };
const BEGINNING = "0-0";

/** What a reader is made from. */
export interface StreamReaderInit {
  readonly redis: Redis;
  /** The key of each way; `own` is read first. */
  readonly streams: Readonly<Record<Way, string>>;
  /** Called when reading begins, for the first time or again. */
  readonly onListening: () => void;
  /** Called when nothing can be read. */
  readonly onLost: (error: unknown) => void;
  /** `isBehind`: this replica's own stream may hold more than was read. */
  readonly onBatch: (batch: Batch, way: Way, isBehind: boolean) => void;
}

/** Reads until it is stopped. */
export class StreamReader {
  readonly #init: StreamReaderInit;
  readonly #stop = new AbortController();
  /** The last id that was read; undefined before the first look. */
  #lastIds: Record<Way, string> | undefined;
  readonly #running: Promise<void>;

  constructor(init: StreamReaderInit) {
    this.#init = init;
    this.#running = this.#run();
  }

  /** Stops reading; nothing is handed over afterwards. */
  async close(): Promise<void> {
    this.#stop.abort();
    // A read that waits for news is answered by the end of its connection.
    this.#init.redis.disconnect();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { redis } = this.#init;
    const stopped = this.#stop.signal;
    for (let failures = 0; !stopped.aborted; ) {
      await untilReady(redis, stopped);
      try {
        await this.#findPositions();
        if (stopped.aborted) return;
        failures = 0;
        this.#init.onListening();
        while (!stopped.aborted) await this.#readOnce();
      } catch (error) {
        if (stopped.aborted) return;
        failures += 1;
        this.#init.onLost(error);
        replaceConnection(redis);
        await sleep(backoffDelayMs(failures, RETRY_BACKOFF), stopped).catch(() => undefined);
      }
    }
  }

  /** Begins at the end. A stream that ends before the last id that was read is another one, and is read from its beginning. */
  async #findPositions(): Promise<void> {
    const tops = { own: await this.#topOf("own"), all: await this.#topOf("all") };
    const known = this.#lastIds;
    this.#lastIds =
      known === undefined
        ? tops
        : {
            own: isBefore(tops.own, known.own) ? BEGINNING : known.own,
            all: isBefore(tops.all, known.all) ? BEGINNING : known.all,
          };
  }

  async #topOf(way: Way): Promise<string> {
    const { redis, streams } = this.#init;
    const [top] = await redis.xrevrange(streams[way], "+", "-", "COUNT", 1);
    return top?.[0] ?? BEGINNING;
  }

  async #readOnce(): Promise<void> {
    const { redis, streams } = this.#init;
    const lastIds = this.#lastIds as Record<Way, string>;
    const reply = await redis.xreadBuffer(
      "COUNT",
      READ_ENTRIES_MAX,
      "BLOCK",
      BLOCK_MS,
      "STREAMS",
      streams.own,
      streams.all,
      lastIds.own,
      lastIds.all,
    );
    const byKey = new Map(reply?.map(([key, entries]) => [key.toString(), entries]));
    const isBehind = (byKey.get(streams.own)?.length ?? 0) >= READ_ENTRIES_MAX;
    for (const way of ["own", "all"] as const) {
      for (const [id, fields] of byKey.get(streams[way]) ?? []) {
        if (this.#stop.signal.aborted) return;
        lastIds[way] = id.toString();
        const batch = fields[1] === undefined ? undefined : tryDecodeBatch(fields[1]);
        if (batch !== undefined) this.#init.onBatch(batch, way, isBehind);
      }
    }
    if (byKey.has(streams.own)) this.#trim(lastIds.own);
  }

  /** Nobody else reads this replica's own stream, so what was read takes no room. The last entry stays: by it the stream is
   * known again after a loss. */
  #trim(lastId: string): void {
    const { redis, streams } = this.#init;
    // It goes ahead of the next read. What is not trimmed now is with the next.
    redis.xtrim(streams.own, "MINID", lastId).catch(() => undefined);
  }
}

/** Compares two ids of entries: milliseconds, then a number. */
function isBefore(one: string, other: string): boolean {
  const [oneMs = 0, oneNumber = 0] = one.split("-").map(Number);
  const [otherMs = 0, otherNumber = 0] = other.split("-").map(Number);
  return oneMs === otherMs ? oneNumber < otherNumber : oneMs < otherMs;
}
