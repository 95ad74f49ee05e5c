import { inspect } from "node:util";
import { type BusEvents, createRedisBus } from "@nexus/bus";
import { startTestRedis, TcpProxy, type TestRedisServer, waitFor } from "@nexus/testkit";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { busContract, TestBus, untilMet } from "./_contract.ts";

const HEARTBEAT_INTERVAL_MS = 50;
const STREAM_ENTRIES_MAX = 64;

let server: TestRedisServer;
let admin: Redis;
let proxy: TcpProxy;
let deployment = "";
let count = 0;

beforeAll(async () => {
  server = await startTestRedis();
  admin = new Redis(server.url, { maxRetriesPerRequest: null });
  admin.on("error", () => undefined);
  proxy = await TcpProxy.listen();
  proxy.aim(server.port);
});
afterAll(async () => {
  admin.disconnect();
  await proxy.close();
  await server.close();
});
beforeEach(() => {
  count += 1;
  deployment = `${server.deployment}-${count}`;
});

/** Replica b comes through a proxy, so that it can be kept from reading. */
function urlFor(replicaId: string): string {
  if (replicaId !== "b") return server.url;
  const url = new URL(server.url);
  url.port = String(proxy.port);
  return url.toString();
}

const openIn = (where: string, lostAfterMs: number) => (replicaId: string, events: BusEvents) =>
  createRedisBus({
    replicaId,
    url: urlFor(replicaId),
    deployment: where,
    events,
    heartbeatIntervalMs: HEARTBEAT_INTERVAL_MS,
    lostAfterMs,
    streamEntriesMax: STREAM_ENTRIES_MAX,
  });

/** The id of the newest entry; readers take out what they read, but not that one. */
async function newestIn(stream: string): Promise<string | undefined> {
  return (await admin.xrevrange(stream, "+", "-", "COUNT", 1))[0]?.[0];
}

/** Waits until something newer is in a stream. */
async function untilWritten(stream: string, before: string | undefined): Promise<void> {
  await waitFor(async () => (await newestIn(stream)) !== before, { what: "the write" });
}

const ownStream = (replicaId: string) => `{nexus:${deployment}:bus}:to:${replicaId}`;

busContract("redis", () => ({
  open: openIn(deployment, 60_000),
  openElsewhere: openIn(`${deployment}-elsewhere`, 60_000),
  loseOne: async (from, to) => {
    const stream = ownStream(to.bus.replicaId);
    const before = await newestIn(stream);
    proxy.cut();
    from.tell(to.bus.replicaId, "lost");
    await untilWritten(stream, before);
    await admin.del(stream);
    proxy.heal();
  },
}));

describe("the redis bus", () => {
  async function openMet(lostAfterMs = 60_000): Promise<[TestBus, TestBus]> {
    const open = openIn(deployment, lostAfterMs);
    const buses: [TestBus, TestBus] = [new TestBus(open, "a"), new TestBus(open, "b")];
    await untilMet(buses);
    return buses;
  }

  async function close(...buses: TestBus[]): Promise<void> {
    await Promise.all(buses.map(({ bus }) => bus[Symbol.asyncDispose]()));
  }

  it("tells of the beginning once it listens", async () => {
    const [a, b] = await openMet();
    expect(a.gaps[0]).toEqual({ from: undefined, cause: "started" });
    expect(b.gaps[0]).toEqual({ from: undefined, cause: "started" });
    expect(a.counts).toMatchObject({ connected: 1, again: 0 });
    await close(a, b);
  });

  it("keeps no more bytes for who does not read than it may, and lets it know", async () => {
    const streamBytesMax = 1 << 20;
    const open = (replicaId: string, events: BusEvents) =>
      createRedisBus({
        ...{ replicaId, url: urlFor(replicaId), deployment, events, streamBytesMax },
        ...{ heartbeatIntervalMs: HEARTBEAT_INTERVAL_MS, lostAfterMs: 60_000 },
      });
    const [a, b] = [new TestBus(open, "a"), new TestBus(open, "b")];
    await untilMet([a, b]);
    proxy.cut();
    const [stream, large] = [ownStream("b"), new Uint8Array(200_000)];
    for (let i = 0; i < 20; i += 1) {
      const before = await newestIn(stream);
      expect(a.bus.publish("b", "word", large)).toBe(true);
      await untilWritten(stream, before);
      expect(await admin.memory("USAGE", stream, "SAMPLES", 0)).toBeLessThan(1.2 * streamBytesMax);
    }
    // One entry stays whatever its size, and small ones have their number again.
    a.bus.publish("b", "word", new Uint8Array(2 * streamBytesMax));
    await waitFor(async () => (await admin.xlen(stream)) === 1, { what: "the largest alone" });
    proxy.heal();
    await waitFor(() => b.gaps.some(({ from }) => from === "a"), { what: "the gap" });
    await close(a, b);
  });

  it("loses nothing when a reader's connection breaks", async () => {
    const [a, b] = await openMet();
    const gaps = b.gaps.length;
    proxy.cut();
    for (let i = 0; i < 50; i += 1) a.tell("b", `n${i}`);
    proxy.heal();
    await b.untilHeard(50);
    expect(b.words).toEqual(Array.from({ length: 50 }, (_, i) => `a: n${i}`));
    expect(b.gaps.length).toBe(gaps);
    await close(a, b);
  });

  it("takes nothing while Redis is away, and goes on with gaps on both sides after it", async () => {
    const [a, b] = await openMet();
    a.tell("b", "before");
    await b.untilHeard(1);
    await server.kill();
    await waitFor(() => !a.bus.isConnected && !b.bus.isConnected, { what: "the loss" });
    expect(a.tell("b", "nobody hears")).toBe(false);
    expect(await a.bus.remember("key", Buffer.from("x"), 1_000)).toBe(false);
    expect(await a.bus.recall("key")).toBeUndefined();
    const gaps = b.gaps.length;
    await server.restart();
    await waitFor(() => a.bus.isConnected && b.bus.isConnected, { what: "the return" });
    expect(a.counts.again).toBeGreaterThan(0);
    await waitFor(() => b.gaps.length > gaps, { what: "the gap" });
    const heard = b.heard.length;
    a.tell("b", "after");
    await b.untilHeard(heard + 1);
    expect(b.words.at(-1)).toBe("a: after");
    await close(a, b);
  });

  it("goes on after everything in Redis was deleted", async () => {
    const [a, b] = await openMet();
    a.tell("b", "before");
    await b.untilHeard(1);
    await admin.flushall();
    a.tell("b", "after");
    a.tellAll("after for all");
    await b.untilHeard(3);
    expect(new Set(b.words.slice(1))).toEqual(new Set(["a: after", "a: after for all"]));
    await close(a, b);
  });

  it("notices a connection that is silently dead, and comes back by another one", async () => {
    const [a, b] = await openMet();
    proxy.silence();
    await waitFor(() => !b.bus.isConnected, { what: "the loss", timeoutMs: 15_000 });
    proxy.replace();
    await waitFor(() => b.bus.isConnected, { what: "the return", timeoutMs: 15_000 });
    const heard = b.heard.length;
    a.tell("b", "after");
    await b.untilHeard(heard + 1);
    expect(b.words.at(-1)).toBe("a: after");
    await close(a, b);
  });

  it("loses nobody by being held up itself", async () => {
    const [a, b] = await openMet(1_000);
    const untilMs = performance.now() + 1_500;
    while (performance.now() < untilMs);
    a.tellAll("still here");
    await waitFor(() => b.words.includes("a: still here"), { what: "what was said after it" });
    b.tellAll("here too");
    await waitFor(() => a.words.includes("b: here too"), { what: "the answer" });
    expect([...a.peerWords, ...b.peerWords].sort()).toEqual(["joined a", "joined b"]);
    await close(a, b);
  });

  it("gives up a replica that is silent, and meets it again", async () => {
    const [a, b] = await openMet(500);
    proxy.cut();
    await waitFor(() => a.peerWords.includes("lost b"), { what: "the loss" });
    expect(b.bus.isConnected).toBe(false);
    proxy.heal();
    await untilMet([a, b]);
    expect(a.peerWords).toEqual(["joined b", "lost b", "joined b"]);
    await close(a, b);
  });

  it("keeps streams short, and lets them end", async () => {
    const [a, b] = await openMet();
    const body = new Uint8Array(65_000);
    for (let i = 0; i < 3 * STREAM_ENTRIES_MAX; i += 1) a.bus.publish("b", "word", body);
    await waitFor(() => a.counts.published >= 3 * STREAM_ENTRIES_MAX, { what: "the writes" });
    await b.untilHeard(1);
    await waitFor(async () => (await admin.xlen(ownStream("b"))) > 0, { what: "the stream" });
    expect(await admin.xlen(ownStream("b"))).toBeLessThan(2 * STREAM_ENTRIES_MAX);
    await waitFor(async () => (await admin.pttl(ownStream("b"))) > 0, { what: "a time to live" });
    await close(a, b);
  });

  it("takes what was read out of a replica's own stream", async () => {
    const [a, b] = await openMet();
    const gaps = b.gaps.length;
    const body = new Uint8Array(65_000);
    for (let i = 0; i < STREAM_ENTRIES_MAX / 2; i += 1) a.bus.publish("b", "word", body);
    await b.untilHeard(STREAM_ENTRIES_MAX / 2);
    await waitFor(async () => (await admin.xlen(ownStream("b"))) === 1, { what: "the trim" });
    expect(b.gaps.length).toBe(gaps);
    await close(a, b);
  });

  it("is not connected while Redis refuses to write, and says why", async () => {
    const [a, b] = await openMet();
    await admin.config("SET", "maxmemory", "1");
    try {
      await waitFor(() => !a.bus.isConnected, { what: "the refusal" });
      expect(String(a.losses.at(-1))).toMatch(/OOM/);
      expect(a.losses.at(-1)).not.toHaveProperty("command");
    } finally {
      await admin.config("SET", "maxmemory", "0");
    }
    await waitFor(() => a.bus.isConnected && b.bus.isConnected, { what: "the return" });
    await close(a, b);
  });

  it("says why it cannot begin, without the password", async () => {
    const url = new URL(server.url);
    url.username = "nobody";
    url.password = "not-the-password";
    const open = (replicaId: string, events: BusEvents) =>
      createRedisBus({ replicaId, url: url.toString(), deployment, events });
    const bus = new TestBus(open, "a");
    await waitFor(() => bus.losses.length > 0, { what: "the refusal" });
    expect(String(bus.losses[0])).toMatch(/WRONGPASS/);
    expect(inspect(bus.losses, { depth: 9, showHidden: true })).not.toContain("not-the-password");
    expect(bus.bus.isConnected).toBe(false);
    await close(bus);
  });

  it("does not take more than may wait", async () => {
    const [a, b] = await openMet();
    const body = new Uint8Array(4 * 1024 * 1024);
    const taken = Array.from({ length: 6 }, () => a.bus.publish("b", "word", body));
    expect(taken).toEqual([true, true, true, false, false, false]);
    await waitFor(() => b.gaps.some(({ cause }) => cause === "lost"), { what: "the gap" });
    await b.untilHeard(3);
    await close(a, b);
  });

  it("refuses names that cannot be kept apart", () => {
    const events = {} as BusEvents;
    const open = (replicaId: string) =>
      createRedisBus({ replicaId, url: server.url, deployment, events });
    expect(() => open("")).toThrow(TypeError);
    expect(() => open("x".repeat(256))).toThrow(TypeError);
  });
});
