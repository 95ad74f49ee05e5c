import type { Clock } from "./clock.ts";

/** What a cache has done since it was created; counters only grow. */
export interface CacheStats {
  /** get() calls that found a live entry. */
  readonly hits: number;
  /** get() calls that did not. */
  readonly misses: number;
  /** Entries removed to make room. */
  readonly evictions: number;
  /** Entries removed because their time to live ended; noticed when they are touched or make room. */
  readonly expirations: number;
  /** Entries held now. */
  readonly size: number;
  /** hits / (hits + misses); 0 before the first get(). */
  readonly hitRate: number;
}

/** What may be a key: anything but null and undefined. Compared as in a Map. */
export type CacheKey = string | number | bigint | boolean | symbol | object;

/** A bounded map that forgets: by its policy when it is full, and by age when entries have a time to live. */
export interface Cache<K, V> {
  /** Returns the live value, and counts a hit or a miss. */
  get(key: K): V | undefined;
  /** Stores a value, replacing an old one; `ttlMs` overrides the cache's own time to live for this entry. */
  set(key: K, value: V, ttlMs?: number): void;
  /** Says whether a live entry exists, without counting and without changing what is evicted next. */
  has(key: K): boolean;
  /** Removes an entry; false when there was none. */
  delete(key: K): boolean;
  /** Removes all entries; the counters stay. */
  clear(): void;
  /** Entries held, including expired ones that nothing has touched yet. Never above `max`. */
  readonly size: number;
  stats(): CacheStats;
}

/** What every cache needs. */
export interface CacheOptions {
  /** Most entries; at least 1. */
  readonly max: number;
  /** Milliseconds an entry lives after set(); absent means until evicted. */
  readonly ttlMs?: number;
  /** Default the wall clock. */
  readonly clock?: Clock;
}

/** The counters shared by all policies. */
export interface CacheCounters {
  hits: number;
  misses: number;
  evictions: number;
  expirations: number;
}

/** Creates counters at zero. */
export function createCacheCounters(): CacheCounters {
  return { hits: 0, misses: 0, evictions: 0, expirations: 0 };
}

/** Turns counters into the reported statistics. */
export function toCacheStats(counters: CacheCounters, size: number): CacheStats {
  const lookups = counters.hits + counters.misses;
  return { ...counters, size, hitRate: lookups === 0 ? 0 : counters.hits / lookups };
}

/** Refuses a capacity that is no positive whole number: a cache without a bound is a leak. */
export function assertCacheMax(max: number): void {
  if (!Number.isSafeInteger(max) || max < 1) {
    throw new RangeError(`A cache needs max >= 1, got ${max}.`);
  }
}

/** Returns when an entry set now ends, in epoch milliseconds; Infinity without a time to live. */
export function expiryAtMs(nowMs: number, ttlMs: number | undefined): number {
  return ttlMs === undefined ? Number.POSITIVE_INFINITY : nowMs + ttlMs;
}
