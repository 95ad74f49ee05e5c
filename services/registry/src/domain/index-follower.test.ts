import { createManualClock } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { fakeAgent, fakePresence, fakeReputation } from "./agent.fake.ts";
import { AgentWatches } from "./agent-watches.ts";
import { CapabilityIndex } from "./capability-index.ts";
import { createFakeFeed } from "./change-feed.fake.ts";
import { FOLLOW_BATCH_MAX, IndexFollower, LOAD_PAGE_MAX } from "./index-follower.ts";
import { createFakeEvents } from "./registry-events.fake.ts";

const KEY = { namespace: "default", agentId: "a" };

function setUp(onBehind: () => void = () => undefined) {
  const feed = createFakeFeed();
  const index = new CapabilityIndex();
  const watches = new AgentWatches(createManualClock(), () => undefined);
  const events = createFakeEvents();
  const follower = new IndexFollower({ feed, source: feed, index, watches, events, onBehind });
  return { feed, index, watches, events, follower };
}

describe("IndexFollower", () => {
  it("builds the index page by page", async () => {
    const { feed, index, follower, events } = setUp();
    for (let n = 0; n < 2 * LOAD_PAGE_MAX; n++) feed.put(fakeAgent(`agent-${n}`));
    await follower.load();
    expect(index.size).toBe(2 * LOAD_PAGE_MAX);
    expect(follower.revision).toBe(2 * LOAD_PAGE_MAX);
    expect(events.told).toEqual([["indexLoaded", 2 * LOAD_PAGE_MAX, "start"]]);
  });

  it("takes in each part of an agent, and its removal", async () => {
    const { feed, index, follower } = setUp();
    await follower.load();
    const agent = fakeAgent("a");
    feed.put(agent);
    await follower.catchUp();
    expect(index.get(KEY)?.view).toBe(agent);
    feed.put({ ...agent, presence: fakePresence({ busySlots: 1 }) }, "presence");
    feed.put({ ...agent, reputations: [fakeReputation({ succeeded: 1 })] }, "reputation");
    await follower.catchUp();
    expect(index.get(KEY)?.view.reputations).toMatchObject([{ succeeded: 1 }]);
    feed.remove(KEY);
    expect(await follower.catchUp()).toBeUndefined();
    expect(index.size).toBe(0);
  });

  it("reads on until nothing is left", async () => {
    const { feed, index, follower } = setUp();
    await follower.load();
    for (let n = 0; n < 3 * FOLLOW_BATCH_MAX; n++) feed.put(fakeAgent(`agent-${n}`));
    await follower.catchUp();
    expect(index.size).toBe(3 * FOLLOW_BATCH_MAX);
  });

  it("tells watchers each agent once a batch, in the order of its last change", async () => {
    const { feed, watches, follower } = setUp();
    await follower.load();
    const subscription = watches.subscribe("default");
    feed.put(fakeAgent("a"));
    feed.put(fakeAgent("b"));
    feed.put(fakeAgent("a"));
    await follower.catchUp();
    const batch = await subscription.next();
    expect(batch?.events.map(({ key, revision }) => [key.agentId, revision])).toEqual([
      ["b", 2],
      ["a", 3],
    ]);
    expect(batch?.through).toBe(3);
  });

  it.each<[string, (feed: ReturnType<typeof createFakeFeed>) => void]>([
    ["the feed was pruned before it was read", (feed) => feed.prune(2)],
    ["the feed is another database's", (feed) => feed.replace()],
  ])("builds the index anew when %s", async (_name, breakOff) => {
    const { feed, index, watches, events, follower } = setUp();
    feed.put(fakeAgent("a"));
    await follower.load();
    const subscription = watches.subscribe("default");
    feed.remove(KEY);
    feed.put(fakeAgent("b"));
    breakOff(feed);
    await follower.catchUp();
    expect(index.snapshot().map(({ view }) => view.record.agentId)).toEqual(["b"]);
    expect(await subscription.next()).toMatchObject({ reset: true });
    expect(events.told.at(-1)).toEqual(["indexLoaded", 1, "gap"]);
  });

  it("keeps going over a gap in the revisions that nobody pruned", async () => {
    const { feed, index, follower } = setUp();
    await follower.load();
    feed.put(fakeAgent("rolled-back"));
    feed.remove({ namespace: "default", agentId: "rolled-back" });
    feed.put(fakeAgent("a"));
    await follower.catchUp();
    expect(index.size).toBe(1);
    expect(follower.revision).toBe(3);
  });

  it("lets a writer wait until its change is in the index", async () => {
    let asked = 0;
    const { feed, follower } = setUp(() => {
      asked += 1;
    });
    await follower.load();
    const revision = feed.put(fakeAgent("a"));
    let settled = false;
    const waiting = follower.settled(revision).then(() => {
      settled = true;
    });
    expect([asked, settled]).toEqual([1, false]);
    await follower.catchUp();
    await waiting;
    expect(settled).toBe(true);
    await follower.settled(revision);
    expect(asked).toBe(1);
  });

  it("lets no writer wait for ever", async () => {
    const { follower } = setUp();
    await follower.load();
    await expect(follower.settled(99)).resolves.toBeUndefined();
  });
});
