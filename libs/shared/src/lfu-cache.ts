import {
  assertCacheMax,
  type Cache,
  type CacheKey,
  type CacheOptions,
  createCacheCounters,
  expiryAtMs,
  toCacheStats,
} from "./cache.ts";
import { systemClock } from "./clock.ts";
import { LinkedList, type ListNode } from "./linked-list.ts";

/** All entries with the same use count; a node of a list ordered by count. */
interface Bucket<K, V> {
  readonly uses: number;
  /** Least recently used first. */
  readonly entries: LinkedList<Entry<K, V>>;
  previous: Bucket<K, V> | undefined;
  next: Bucket<K, V> | undefined;
}

interface Entry<K, V> extends ListNode<Entry<K, V>> {
  readonly key: K;
  value: V;
  expiresAtMs: number;
  bucket: Bucket<K, V>;
}

/** The frequency list: buckets by rising use count, so every operation is O(1). */
class FrequencyList<K, V> {
  #first: Bucket<K, V> | undefined;

  /** Puts a new entry into the bucket of count 1. */
  insert(key: K, value: V, expiresAtMs: number): Entry<K, V> {
    const bucket = this.#first?.uses === 1 ? this.#first : this.#bucketAfter(undefined, 1);
    const links = { previous: undefined, next: undefined };
    const entry: Entry<K, V> = { key, value, expiresAtMs, bucket, ...links };
    bucket.entries.push(entry);
    return entry;
  }

  /** Moves an entry to the bucket of the next count. */
  promote(entry: Entry<K, V>): void {
    const from = entry.bucket;
    const uses = from.uses + 1;
    const to = from.next?.uses === uses ? from.next : this.#bucketAfter(from, uses);
    this.#leave(from, entry);
    entry.bucket = to;
    to.entries.push(entry);
  }

  remove(entry: Entry<K, V>): void {
    this.#leave(entry.bucket, entry);
  }

  /** Returns the least frequently used entry; among equals the least recently used. */
  coldest(): Entry<K, V> | undefined {
    return this.#first?.entries.first;
  }

  clear(): void {
    this.#first = undefined;
  }

  #bucketAfter(previous: Bucket<K, V> | undefined, uses: number): Bucket<K, V> {
    const next = previous === undefined ? this.#first : previous.next;
    const bucket: Bucket<K, V> = { uses, entries: new LinkedList(), previous, next };
    if (previous === undefined) this.#first = bucket;
    else previous.next = bucket;
    if (next !== undefined) next.previous = bucket;
    return bucket;
  }

  #leave(bucket: Bucket<K, V>, entry: Entry<K, V>): void {
    bucket.entries.remove(entry);
    if (bucket.entries.first !== undefined) return;
    if (bucket.previous === undefined) this.#first = bucket.next;
    else bucket.previous.next = bucket.next;
    if (bucket.next !== undefined) bucket.next.previous = bucket.previous;
  }
}

/** Creates a cache that evicts the entry that was used least often; reads and replacing writes are uses.
 *
 * Source: Shah, Mitra, Matani, "An O(1) algorithm for implementing the LFU cache eviction scheme", 2010. Counts do
 * not decay, so give entries a time to live when old favourites must fade. Cost: O(1). */
export function createLfuCache<K extends CacheKey, V>(options: CacheOptions): Cache<K, V> {
  assertCacheMax(options.max);
  const clock = options.clock ?? systemClock;
  const counters = createCacheCounters();
  const entries = new Map<K, Entry<K, V>>();
  const frequencies = new FrequencyList<K, V>();

  function drop(entry: Entry<K, V>): void {
    entries.delete(entry.key);
    frequencies.remove(entry);
  }

  function makeRoom(): void {
    if (entries.size < options.max) return;
    const coldest = frequencies.coldest();
    if (coldest === undefined) return;
    if (coldest.expiresAtMs <= clock.nowMs()) counters.expirations++;
    else counters.evictions++;
    drop(coldest);
  }

  return {
    get(key) {
      const entry = entries.get(key);
      if (entry !== undefined && entry.expiresAtMs > clock.nowMs()) {
        counters.hits++;
        frequencies.promote(entry);
        return entry.value;
      }
      if (entry !== undefined) {
        drop(entry);
        counters.expirations++;
      }
      counters.misses++;
      return undefined;
    },
    set(key, value, ttlMs = options.ttlMs) {
      const expiresAtMs = expiryAtMs(clock.nowMs(), ttlMs);
      const entry = entries.get(key);
      if (entry !== undefined) {
        entry.value = value;
        entry.expiresAtMs = expiresAtMs;
        frequencies.promote(entry);
        return;
      }
      makeRoom();
      entries.set(key, frequencies.insert(key, value, expiresAtMs));
    },
    has(key) {
      const entry = entries.get(key);
      return entry !== undefined && entry.expiresAtMs > clock.nowMs();
    },
    delete(key) {
      const entry = entries.get(key);
      if (entry === undefined) return false;
      drop(entry);
      return true;
    },
    clear() {
      entries.clear();
      frequencies.clear();
    },
    get size() {
      return entries.size;
    },
    stats: () => toCacheStats(counters, entries.size),
  };
}
