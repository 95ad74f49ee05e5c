import { describe, expect, it } from "vitest";
import { BREAKER_FAILURES, BREAKER_OPEN_MS, MESSAGE_QUEUE_BYTES_MAX } from "../limits.ts";
import type { Verdict } from "../message/letter.ts";
import type { Message } from "../message/message.ts";
import type { MessageEngine } from "../message/message-engine.ts";
import { MessageRig, type RigReplica } from "../message/message-rig.fake.ts";
import { SessionDirectory } from "../session/session-directory.ts";
import { TopicBook } from "../topic/topic-book.ts";
import { Exchange } from "./exchange.ts";
import type { Whereabouts } from "./remote-ports.ts";

const NS = "default";
function setUp({ isAlone = false, found = [] as [string, Whereabouts][] } = {}) {
  const topics = new TopicBook();
  const link = { isConnected: true, send: () => true };
  const exchange = new Exchange({
    replicaId: "a",
    isAlone,
    directory: new SessionDirectory(),
    topics,
    link,
    locator: { locate: async () => new Map(found) },
    clock: { nowMs: () => 0 },
    onLocateFailed: () => undefined,
  });
  const verdicts: Verdict[] = [];
  const engine = {
    answer: (_sender: unknown, _letter: unknown, verdict: Verdict) => verdicts.push(verdict),
    conclude: (_message: unknown, verdict: Verdict) => verdicts.push(verdict),
  };
  exchange.bind(engine as unknown as MessageEngine, () => undefined);
  return { exchange, topics, link, verdicts };
}

describe("Exchange", () => {
  it("lets a sender try again while the receiver's replica is away", async () => {
    const { exchange, verdicts } = setUp({
      found: [[`${NS}/y`, { routerId: "b", epoch: 1n }]],
    });
    const sought = exchange.seek(NS, "y");
    sought?.inbox.add({} as Message);
    await new Promise(setImmediate);
    expect(verdicts).toHaveLength(1);
    expect(verdicts[0]).toMatchObject({ outcome: "overloaded", retryAfterMs: expect.any(Number) });
  });

  it("knows all when it is alone, or connected and told by everyone", () => {
    const { exchange, link } = setUp();
    expect(exchange.knowsAll).toBe(true);
    exchange.peerJoined("b");
    expect(exchange.knowsAll).toBe(false);
    exchange.rosters.toldAll("b", { sequence: 1, changes: [] });
    expect(exchange.knowsAll).toBe(true);
    link.isConnected = false;
    expect(exchange.knowsAll).toBe(false);
    const alone = setUp({ isAlone: true });
    alone.link.isConnected = false;
    expect(alone.exchange.knowsAll).toBe(true);
  });

  it("tells who watches a topic of a loss, until they stop", () => {
    const { exchange, topics } = setUp();
    let losses = 0;
    const stop = topics.listenForLoss(() => {
      losses += 1;
    });
    exchange.missed();
    exchange.peerLost("b");
    stop();
    exchange.missed();
    expect(losses).toBe(2);
  });
});

/** Messages wait for bob, who comes to this replica while he is looked for. */
function sought(messages: readonly string[], bobsCredit: number, payload = new Uint8Array()) {
  const rig = new MessageRig(["a", "b"]);
  const [here] = rig.replicas as [RigReplica, RigReplica];
  const alice = here.agent("alice");
  rig.whereabouts.set(`${NS}/bob`, { routerId: "a", epoch: 1n });
  for (const id of messages) here.send(alice, id, "bob", { payload });
  expect(here.exchange.seeking).toBe(1);
  return { rig, here, alice, bob: here.agent("bob", bobsCredit) };
}

describe("what waited for a look-up", () => {
  it("is overloaded when its receiver's queue is full by then", async () => {
    const payload = new Uint8Array(MESSAGE_QUEUE_BYTES_MAX / 4);
    const { here, alice, bob } = sought(["m"], 0, payload);
    here.topics.add(NS, { agentId: "bob", pattern: "t", group: "", durable: false });
    const carol = here.agent("carol");
    for (let i = 0; i < 3; i += 1) {
      here.send(carol, `c${i}`, "", { target: { kind: "topic", name: "t" }, payload });
    }
    await new Promise(setImmediate);
    expect(bob.inbox.size).toBe(3);
    expect(here.read(alice).outcomes).toMatchObject([{ messageId: "m", outcome: "overloaded" }]);
  });

  it("meets an open breaker, of which one message is the probe after its pause", async () => {
    const { rig, here, alice, bob } = sought(["probe", "second"], 10);
    const failedAtMs = rig.clock.nowMs() - BREAKER_OPEN_MS;
    for (let i = 0; i < BREAKER_FAILURES; i += 1) bob.breaker.failed(failedAtMs);
    await new Promise(setImmediate);
    expect(here.read(bob).deliveries).toMatchObject([{ messageId: "probe" }]);
    expect(here.read(alice).outcomes).toMatchObject([
      { messageId: "second", outcome: "breaker_open" },
    ]);
  });
});
