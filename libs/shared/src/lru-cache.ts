import { LRUCache } from "lru-cache";
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

interface Box<V> {
  readonly value: V;
  readonly expiresAtMs: number;
}

/** Creates a cache that evicts the entry that was not read or written for the longest time.
 *
 * The order is kept by the lru-cache package; expiry is ours, so that the clock can be injected and an
 * expired entry is told apart from an evicted one. Cost: O(1). */
export function createLruCache<K extends CacheKey, V>(options: CacheOptions): Cache<K, V> {
  assertCacheMax(options.max);
  const clock = options.clock ?? systemClock;
  const counters = createCacheCounters();
  const entries = new LRUCache<K, Box<V>>({
    max: options.max,
    disposeAfter: (box, _key, why) => {
      if (why !== "evict") return;
      if (box.expiresAtMs <= clock.nowMs()) counters.expirations++;
      else counters.evictions++;
    },
  });

  function expire(key: K): void {
    entries.delete(key);
    counters.expirations++;
  }

  return {
    get(key) {
      const box = entries.get(key);
      if (box !== undefined && box.expiresAtMs > clock.nowMs()) {
        counters.hits++;
        return box.value;
      }
      if (box !== undefined) expire(key);
      counters.misses++;
      return undefined;
    },
    set(key, value, ttlMs = options.ttlMs) {
      entries.set(key, { value, expiresAtMs: expiryAtMs(clock.nowMs(), ttlMs) });
    },
    has(key) {
      const box = entries.peek(key);
      return box !== undefined && box.expiresAtMs > clock.nowMs();
    },
    delete: (key) => entries.delete(key),
    clear: () => entries.clear(),
    get size() {
      return entries.size;
    },
    stats: () => toCacheStats(counters, entries.size),
  };
}
