import { describe, expect, it } from "vitest";
import type { Verdict } from "../message/letter.ts";
import type { Message } from "../message/message.ts";
import type { MessageEngine } from "../message/message-engine.ts";
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
