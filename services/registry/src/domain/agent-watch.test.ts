import { createManualClock } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { fakeAgent, fakeCapability } from "./agent.fake.ts";
import { WATCH_MESSAGE_AGENTS_MAX, type WatchMessage, watchAgents } from "./agent-watch.ts";
import { AgentWatches } from "./agent-watches.ts";
import { CapabilityIndex } from "./capability-index.ts";
import { createFakeFeed } from "./change-feed.fake.ts";
import { IndexFollower } from "./index-follower.ts";
import { createFakeEvents } from "./registry-events.fake.ts";
import { encodeResumeToken, tryDecodeResumeToken } from "./resume-token.ts";

async function setUp() {
  const feed = createFakeFeed();
  const index = new CapabilityIndex();
  const watches = new AgentWatches(createManualClock(), () => undefined);
  const follower = new IndexFollower({
    feed,
    source: feed,
    index,
    watches,
    events: createFakeEvents(),
    onBehind: () => undefined,
  });
  await follower.load();
  const deps = { index, feed, watches, position: () => follower };
  const stop = new AbortController();
  const watch = (resumeToken = "", namespace: string | undefined = "default") =>
    watchAgents(deps, { namespace, resumeToken }, stop.signal);
  return { feed, index, watches, follower, watch, stop };
}

async function take(stream: AsyncGenerator<WatchMessage, void>): Promise<WatchMessage> {
  const { value } = await stream.next();
  if (value === undefined) throw new Error("the watch ended");
  return value;
}

function told(message: WatchMessage): string[] {
  return message.agents.map(({ record }) => record.agentId);
}

describe("watchAgents", () => {
  it("begins with a snapshot in messages of bounded size", async () => {
    const { feed, follower, watch } = await setUp();
    const count = 2 * WATCH_MESSAGE_AGENTS_MAX + 1;
    for (let n = 0; n < count; n++) feed.put(fakeAgent(`agent-${n}`));
    await follower.catchUp();
    const stream = watch();
    const messages = [await take(stream), await take(stream), await take(stream)];
    expect(messages.map(({ agents }) => agents.length)).toEqual([512, 512, 1]);
    expect(messages.map(({ snapshotComplete }) => snapshotComplete)).toEqual([false, false, true]);
    expect(messages.map(({ resumeToken }) => resumeToken === "")).toEqual([true, true, false]);
    expect(tryDecodeResumeToken(messages[2]!.resumeToken)).toMatchObject({ revision: count });
    await stream.return();
  });

  it("keeps large agents in messages of their own", async () => {
    const { feed, follower, watch } = await setUp();
    const capabilities = [fakeCapability({ inputSchema: "x".repeat(900_000) })];
    for (const id of ["a", "b", "c"]) feed.put(fakeAgent(id, { capabilities }));
    await follower.catchUp();
    const stream = watch();
    expect([told(await take(stream)), told(await take(stream))]).toEqual([["a", "b"], ["c"]]);
    await stream.return();
  });

  it("goes on with every change and every removal", async () => {
    const { feed, follower, watch } = await setUp();
    const stream = watch();
    expect(await take(stream)).toMatchObject({ agents: [], snapshotComplete: true });
    feed.put(fakeAgent("a"));
    await follower.catchUp();
    expect(told(await take(stream))).toEqual(["a"]);
    feed.remove({ namespace: "default", agentId: "a" });
    await follower.catchUp();
    expect((await take(stream)).removed).toEqual([{ namespace: "default", agentId: "a" }]);
    await stream.return();
  });

  it("loses nothing that happens while the snapshot is sent", async () => {
    const { feed, follower, watch } = await setUp();
    for (let n = 0; n < 600; n++) feed.put(fakeAgent(`agent-${n}`));
    await follower.catchUp();
    const stream = watch();
    await take(stream);
    feed.put(fakeAgent("late"));
    await follower.catchUp();
    expect((await take(stream)).snapshotComplete).toBe(true);
    expect(told(await take(stream))).toEqual(["late"]);
    await stream.return();
  });

  it("resumes behind a message, with what is gone and what is new", async () => {
    const { feed, follower, watch } = await setUp();
    feed.put(fakeAgent("a"));
    feed.put(fakeAgent("foreign", { namespace: "other" }));
    await follower.catchUp();
    const first = watch();
    const { resumeToken } = await take(first);
    await first.return();
    feed.put(fakeAgent("b"));
    feed.put(fakeAgent("foreign-2", { namespace: "other" }));
    feed.remove({ namespace: "default", agentId: "a" });
    await follower.catchUp();
    const stream = watch(resumeToken);
    const message = await take(stream);
    expect(message).toMatchObject({ reset: false, snapshotComplete: false });
    expect(told(message)).toEqual(["b"]);
    expect(message.removed).toEqual([{ namespace: "default", agentId: "a" }]);
    expect(await take(stream)).toMatchObject({ agents: [], removed: [], reset: false });
    feed.put(fakeAgent("c"));
    await follower.catchUp();
    expect(told(await take(stream))).toEqual(["c"]);
    await stream.return();
  });

  it("tells nothing again at a replica that has yet to hear what another one told", async () => {
    const { feed, follower, watch } = await setUp();
    feed.put(fakeAgent("told-elsewhere"));
    const { feedId } = follower;
    const stream = watch(encodeResumeToken({ feedId, revision: 1, namespace: "default" }));
    const first = await take(stream);
    expect(told(first)).toEqual([]);
    expect(tryDecodeResumeToken(first.resumeToken)).toMatchObject({ revision: 1 });
    feed.put(fakeAgent("new"));
    await follower.catchUp();
    expect(told(await take(stream))).toEqual(["new"]);
    await stream.return();
  });

  it("lets any message be the last one seen", async () => {
    const { feed, follower, watch } = await setUp();
    const stream = watch();
    const tokens = [(await take(stream)).resumeToken];
    for (const id of ["a", "b", "c"]) {
      feed.put(fakeAgent(id));
      await follower.catchUp();
      tokens.push((await take(stream)).resumeToken);
    }
    await stream.return();
    const missed = [];
    for (const token of tokens) {
      const resumed = watch(token);
      missed.push(told(await take(resumed)));
      await resumed.return();
    }
    expect(missed).toEqual([["a", "b", "c"], ["b", "c"], ["c"], []]);
  });

  it.each<[string, (token: string, feed: Awaited<ReturnType<typeof setUp>>["feed"]) => string]>([
    [
      "the history is gone",
      (token, feed) => {
        feed.prune(2);
        return token;
      },
    ],
    [
      "the token is of another scope",
      (token) => encodeResumeToken({ ...tryDecodeResumeToken(token)!, namespace: undefined }),
    ],
    [
      "the token is of another database",
      (token) => encodeResumeToken({ ...tryDecodeResumeToken(token)!, feedId: "other" }),
    ],
    [
      "the token is ahead of the database",
      (token) => encodeResumeToken({ ...tryDecodeResumeToken(token)!, revision: 999 }),
    ],
    ["the token is nonsense", () => "nonsense"],
  ])("resets and sends a snapshot when %s", async (_name, change) => {
    const { feed, follower, watch } = await setUp();
    feed.put(fakeAgent("a"));
    await follower.catchUp();
    const first = watch();
    const { resumeToken } = await take(first);
    await first.return();
    feed.put(fakeAgent("b"));
    await follower.catchUp();
    const stream = watch(change(resumeToken, feed));
    expect(await take(stream)).toMatchObject({ reset: true, agents: [], resumeToken: "" });
    const snapshot = await take(stream);
    expect(told(snapshot).sort()).toEqual(["a", "b"]);
    expect(snapshot.snapshotComplete).toBe(true);
    await stream.return();
  });

  it("resets in the middle when the index is built anew", async () => {
    const { feed, follower, watch } = await setUp();
    const stream = watch();
    await take(stream);
    feed.put(fakeAgent("a"));
    feed.prune(1);
    await follower.catchUp();
    expect((await take(stream)).reset).toBe(true);
    expect(await take(stream)).toMatchObject({ snapshotComplete: true, reset: false });
    await stream.return();
  });

  it("ends with its signal and leaves nothing behind", async () => {
    const { watches, watch, stop } = await setUp();
    const stream = watch();
    await take(stream);
    const waiting = stream.next();
    expect(watches.size).toBe(1);
    stop.abort();
    expect(await waiting).toMatchObject({ done: true });
    expect(watches.size).toBe(0);
  });
});
