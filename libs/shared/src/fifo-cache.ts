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

interface Entry<K, V> extends ListNode<Entry<K, V>> {
  readonly key: K;
  value: V;
  expiresAtMs: number;
}

/** Creates a cache that evicts the entry that was added first, however often it was read.
 *
 * Replacing a value keeps the entry's place in the queue.
 * Right for data that ages by arrival, such as deduplication of message ids. Cost: O(1). */
export function createFifoCache<K extends CacheKey, V>(options: CacheOptions): Cache<K, V> {
  assertCacheMax(options.max);
  const clock = options.clock ?? systemClock;
  const counters = createCacheCounters();
  const entries = new Map<K, Entry<K, V>>();

  const arrivals = new LinkedList<Entry<K, V>>();

  function drop(entry: Entry<K, V>): void {
    entries.delete(entry.key);
    arrivals.remove(entry);
  }

  function makeRoom(): void {
    const oldest = arrivals.first;
    if (oldest === undefined || entries.size < options.max) return;
    if (oldest.expiresAtMs <= clock.nowMs()) counters.expirations++;
    else counters.evictions++;
    drop(oldest);
  }

  return {
    get(key) {
      const entry = entries.get(key);
      if (entry !== undefined && entry.expiresAtMs > clock.nowMs()) {
        counters.hits++;
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
      const known = entries.get(key);
      if (known !== undefined) {
        known.value = value;
        known.expiresAtMs = expiresAtMs;
        return;
      }
      makeRoom();
      const entry = { key, value, expiresAtMs, previous: undefined, next: undefined };
      entries.set(key, entry);
      arrivals.push(entry);
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
      arrivals.clear();
    },
    get size() {
      return entries.size;
    },
    stats: () => toCacheStats(counters, entries.size),
  };
}
