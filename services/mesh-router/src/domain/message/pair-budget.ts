import { PAIRS_KNOWN_MAX } from "../limits.ts";
import type { Chain, Verdict } from "./letter.ts";
import type { Sender } from "./message.ts";

const MINUTE_MS = 60_000;

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Bounds how many messages that other messages caused one principal may send to another: two agents that answer each other without
 * end stop here, whatever they say of their chain's beginning. Source: token bucket, RFC 2697, one rate. */
export class PairBudget {
  readonly #perMinute: number;
  readonly #buckets = new Map<string, Bucket>();

  /** A minute's budget may be spent at once; 0 turns the budget off. */
  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  /** A message that another one caused uses up its pair's budget; a verdict when there is none left. */
  spend(message: {
    readonly sender: Sender;
    readonly chain: Chain | undefined;
    readonly to: string;
    readonly nowMs: number;
  }): Verdict | undefined {
    const { sender, chain, to, nowMs } = message;
    if (chain === undefined) return undefined;
    const retryAfterMs = this.take(`${sender.namespace}/${sender.principalId}/${to}`, nowMs);
    if (retryAfterMs === 0) return undefined;
    const text = "messages that others caused go too often from this sender to this receiver";
    return { outcome: "overloaded", reason: "PAIR_BUDGET", text, retryAfterMs };
  }

  /** Takes one message out of a pair's budget. Returns 0, or how long until there is one. */
  take(pair: string, nowMs: number): number {
    if (this.#perMinute === 0) return 0;
    const bucket = this.#find(pair, nowMs);
    const gained = ((nowMs - bucket.atMs) * this.#perMinute) / MINUTE_MS;
    bucket.tokens = Math.min(this.#perMinute, bucket.tokens + gained);
    bucket.atMs = nowMs;
    if (bucket.tokens < 1) return Math.ceil(((1 - bucket.tokens) * MINUTE_MS) / this.#perMinute);
    bucket.tokens -= 1;
    return 0;
  }

  /** The pair that was silent the longest is forgotten for a new one. */
  #find(pair: string, nowMs: number): Bucket {
    const known = this.#buckets.get(pair);
    if (known !== undefined) {
      this.#buckets.delete(pair);
      this.#buckets.set(pair, known);
      return known;
    }
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size >= PAIRS_KNOWN_MAX && oldest !== undefined) this.#buckets.delete(oldest);
    const bucket = { tokens: this.#perMinute, atMs: nowMs };
    this.#buckets.set(pair, bucket);
    return bucket;
  }
}
