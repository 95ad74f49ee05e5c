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

interface Entry<V> {
  readonly value: V;
  readonly expiresAtMs: number;
}

/** Creates a cache that evicts the entry that was added first, however often it was read.
 *
 * Replacing a value keeps the entry's place in the queue. A Map iterates in insertion order, so it is the queue.
 * Right for data that ages by arrival, such as deduplication of message ids. Cost: O(1). */
export function createFifoCache<K extends CacheKey, V>(options: CacheOptions): Cache<K, V> {
  assertCacheMax(options.max);
  const clock = options.clock ?? systemClock;
  const counters = createCacheCounters();
  const entries = new Map<K, Entry<V>>();

  function makeRoom(): void {
    if (entries.size < options.max) return;
    for (const [oldest, entry] of entries) {
      if (entry.expiresAtMs <= clock.nowMs()) counters.expirations++;
      else counters.evictions++;
      entries.delete(oldest);
      return;
    }
  }

  return {
    get(key) {
      const entry = entries.get(key);
      if (entry !== undefined && entry.expiresAtMs > clock.nowMs()) {
        counters.hits++;
        return entry.value;
      }
      if (entry !== undefined) {
        entries.delete(key);
        counters.expirations++;
      }
      counters.misses++;
      return undefined;
    },
    set(key, value, ttlMs = options.ttlMs) {
      if (!entries.has(key)) makeRoom();
      entries.set(key, { value, expiresAtMs: expiryAtMs(clock.nowMs(), ttlMs) });
    },
    has(key) {
      const entry = entries.get(key);
      return entry !== undefined && entry.expiresAtMs > clock.nowMs();
    },
    delete: (key) => entries.delete(key),
    clear: () => entries.clear(),
    get size() {
      return entries.size;
    },
    stats: () => toCacheStats(counters, entries.size),
  };
}
