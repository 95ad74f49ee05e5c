import { describe, expect, it } from "vitest";
import { TOPIC_REFERENCES_KEPT } from "../limits.ts";
import { MatchCache } from "./match-cache.ts";
import { type Match, type Subscription, TopicBook } from "./topic-book.ts";

/** What a match of nobody counts. */
const EMPTY = 64;

function matchOf(subscribers: number) {
  const subscription: Subscription = { agentId: "a", pattern: "t", group: "", durable: false };
  return {
    subscriptions: Array.from({ length: subscribers }, () => subscription),
    ears: [],
    farEars: [],
  };
}

describe("MatchCache", () => {
  it("counts subscribers and watchers, and gives back what is forgotten", () => {
    const cache = new MatchCache<Match>(1_000);
    const ears = [() => undefined];
    cache.keep("a", "t", { ...matchOf(10), ears, farEars: ears });
    expect(cache.held).toBe(EMPTY + 12);
    cache.keep("b", "t", matchOf(0));
    cache.forget("a");
    cache.forget("a");
    expect(cache.held).toBe(EMPTY);
    expect([cache.get("a", "t"), cache.get("b", "t")]).toEqual([undefined, matchOf(0)]);
  });

  it("holds no more than it may, however many subscribers topics have", () => {
    const cache = new MatchCache<Match>(10_000);
    for (let i = 0; i < 100; i += 1) {
      cache.keep("a", `t${i}`, matchOf(1_000));
      expect(cache.held).toBeLessThanOrEqual(10_000);
      expect(cache.get("a", `t${i}`)).toBeDefined();
    }
    for (let i = 0; i < 1_000; i += 1) {
      cache.keep("b", `t${i}`, matchOf(0));
      expect(cache.held).toBeLessThanOrEqual(10_000);
    }
  });

  it("keeps no match that is too large by itself, and loses none for it", () => {
    const cache = new MatchCache<Match>(1_000);
    cache.keep("a", "small", matchOf(1));
    cache.keep("a", "large", matchOf(1_000));
    expect(cache.get("a", "large")).toBeUndefined();
    expect(cache.get("a", "small")).toBeDefined();
  });

  it("forgets the namespace that holds most before others", () => {
    const cache = new MatchCache<Match>(1_000);
    cache.keep("modest", "t", matchOf(1));
    cache.keep("greedy", "t1", matchOf(300));
    cache.keep("greedy", "t2", matchOf(300));
    cache.keep("third", "t", matchOf(200));
    expect(cache.get("modest", "t")).toBeDefined();
    expect(cache.get("greedy", "t1")).toBeUndefined();
    expect(cache.get("third", "t")).toBeDefined();
  });
});

describe("TopicBook", () => {
  it("remembers matches by what they hold: 8 MiB of references in all", () => {
    expect(TOPIC_REFERENCES_KEPT * 8).toBe(8 * 1024 * 1024);
    const cache = new MatchCache<Match>(TOPIC_REFERENCES_KEPT);
    const book = new TopicBook(undefined, cache);
    for (let i = 0; i < 10_000; i += 1) {
      book.add("a", { agentId: `agent-${i}`, pattern: ">", group: "", durable: false });
    }
    for (let i = 0; i < 1_000; i += 1) {
      expect(book.match("a", `t.${i}`).subscriptions).toHaveLength(10_000);
      expect(cache.held).toBeLessThanOrEqual(TOPIC_REFERENCES_KEPT);
    }
    expect(book.match("a", "t.999")).toBe(book.match("a", "t.999"));
  });

  it("finds a new subscriber of a topic whose match it had kept", () => {
    const book = new TopicBook();
    book.add("a", { agentId: "one", pattern: "t", group: "", durable: false });
    const before = book.match("a", "t");
    expect(book.match("a", "t")).toBe(before);
    book.add("b", { agentId: "other", pattern: "t", group: "", durable: false });
    expect(book.match("a", "t")).toBe(before);
    book.add("a", { agentId: "two", pattern: "*", group: "", durable: false });
    expect(book.match("a", "t").subscriptions).toHaveLength(2);
    book.remove("a", { agentId: "one", pattern: "t", group: "" });
    expect(book.match("a", "t").subscriptions).toHaveLength(1);
  });
});
