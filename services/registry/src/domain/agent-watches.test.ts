import { createManualClock } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { fakeAgent } from "./agent.fake.ts";
import {
  type AgentEvent,
  AgentWatches,
  WATCH_BUFFER_MAX,
  WATCH_SILENCE_MAX_MS,
} from "./agent-watches.ts";

function event(revision: number, namespace = "default"): AgentEvent {
  const view = fakeAgent(`agent-${revision}`, { namespace });
  return { key: view.record, revision, view, approximateBytes: 100 };
}

function setUp() {
  const clock = createManualClock();
  let tooSlow = 0;
  const watches = new AgentWatches(clock, () => {
    tooSlow += 1;
  });
  return { clock, watches, tooSlow: () => tooSlow };
}

describe("AgentWatches", () => {
  it("hands over what happened in the namespace since the last time", async () => {
    const { watches } = setUp();
    const one = watches.subscribe("default");
    const all = watches.subscribe(undefined);
    watches.publish([event(1), event(2, "other")], 2);
    watches.publish([event(3)], 3);
    const batch = await one.next();
    expect(batch?.events.map(({ revision }) => revision)).toEqual([1, 3]);
    expect(batch).toMatchObject({ through: 3, reset: false });
    expect((await all.next())?.events).toHaveLength(3);
  });

  it("wakes a waiting watcher", async () => {
    const { watches } = setUp();
    const subscription = watches.subscribe("default");
    const waiting = subscription.next();
    watches.publish([event(7)], 7);
    expect((await waiting)?.events).toHaveLength(1);
  });

  it("gives a sign of life after silence and not before", async () => {
    const { clock, watches } = setUp();
    const subscription = watches.subscribe("default");
    let told = 0;
    const waiting = subscription.next().then((batch) => {
      told += 1;
      return batch;
    });
    watches.publish([event(4, "other")], 4);
    clock.advance(WATCH_SILENCE_MAX_MS - 1);
    watches.tick();
    await Promise.resolve();
    expect(told).toBe(0);
    clock.advance(1);
    watches.tick();
    expect(await waiting).toEqual({ events: [], reset: false, through: 4 });
  });

  it("ends a watcher that is too far behind, and only that one", async () => {
    const { watches, tooSlow } = setUp();
    const slow = watches.subscribe("default");
    const quick = watches.subscribe("default");
    for (let revision = 1; revision <= WATCH_BUFFER_MAX; revision++) {
      watches.publish([event(revision)], revision);
      await quick.next();
    }
    expect(tooSlow()).toBe(0);
    watches.publish([event(WATCH_BUFFER_MAX + 1)], WATCH_BUFFER_MAX + 1);
    await expect(slow.next()).rejects.toMatchObject({
      kind: "exhausted",
      reason: "WATCHER_TOO_SLOW",
    });
    expect((await quick.next())?.events).toHaveLength(1);
    expect([tooSlow(), watches.size]).toEqual([1, 1]);
  });

  it("drops what waited when the index is built anew", async () => {
    const { watches } = setUp();
    const subscription = watches.subscribe("default");
    watches.publish([event(1)], 1);
    watches.reset(9);
    expect(await subscription.next()).toEqual({ events: [], reset: true, through: 9 });
  });

  it("ends a waiting watcher on close", async () => {
    const { watches } = setUp();
    const subscription = watches.subscribe("default");
    const waiting = subscription.next();
    subscription.close();
    subscription.close();
    expect(await waiting).toBeUndefined();
    expect(await subscription.next()).toBeUndefined();
    watches.subscribe("default");
    watches.close();
    expect(watches.size).toBe(0);
  });
});
