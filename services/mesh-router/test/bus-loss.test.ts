/** What the loss of Redis, or of the way to it, does to messages between replicas. */
import { randomUUID } from "node:crypto";
import { startTestRedis, type TestRedisServer, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcomeName, type TestAgent } from "./_agent.ts";
import { ReplicaFixture, untilMetric } from "./_replicas.ts";
import type { RunningRouter } from "./_router.ts";

let fixture: ReplicaFixture;
let redis: TestRedisServer;
let first: RunningRouter;
let second: RunningRouter;
let third: RunningRouter;

beforeAll(async () => {
  redis = await startTestRedis();
  fixture = await ReplicaFixture.create(3, {}, redis);
  [first, second, third] = fixture.routers as [RunningRouter, RunningRouter, RunningRouter];
});
afterAll(() => fixture.close());

const tag = () => randomUUID().slice(0, 8);

async function outcome(agent: TestAgent, messageId: string): Promise<string> {
  return outcomeName(await agent.outcomeOf(messageId));
}

/** Sends until a message comes through. */
async function untilDelivered(from: TestAgent, to: string): Promise<void> {
  await waitFor(
    async () => {
      const id = `probe-${tag()}`;
      from.post(id, to, { timeout: { seconds: 2n, nanos: 0 } });
      return (await outcome(from, id)) === "DELIVERED";
    },
    { what: `a message to ${to}`, timeoutMs: 20_000 },
  );
}

/** Sends until a message is refused at once. One that is on its way when its receiver's replica is found to be lost ends with that. */
async function untilRefused(from: TestAgent, to: string): Promise<void> {
  const seen: string[] = [];
  await waitFor(
    async () => {
      const id = `refused-${tag()}`;
      from.post(id, to, { timeout: { seconds: 60n, nanos: 0 } });
      seen.push(await outcome(from, id));
      return seen.at(-1) === "OVERLOADED";
    },
    { what: `a message to ${to} to be refused`, timeoutMs: 20_000 },
  );
  expect(seen.filter((ended) => ended !== "OVERLOADED" && ended !== "EXPIRED")).toEqual([]);
}

async function obliging(router: RunningRouter, agentId: string, more = {}): Promise<TestAgent> {
  const agent = await router.agent(agentId, more);
  agent.autoAck = true;
  return agent;
}

describe("messages between replicas", () => {
  it("go on after everything in Redis was deleted", async () => {
    const t = tag();
    const alice = await first.agent(`alice-${t}`);
    const bob = await obliging(second, `bob-${t}`);
    await untilDelivered(alice, `bob-${t}`);
    await redis.flush();
    for (let i = 0; i < 20; i += 1) alice.mail(`d${i}`, `bob-${t}`);
    alice.post("m1", `bob-${t}`);
    expect(await outcome(alice, "m1")).toBe("DELIVERED");
    await waitFor(() => bob.mailIds.length === 20, { what: "the durable ones" });
    await fixture.mesh.untilMail(0);
  });

  it("that are durable come through while Redis is away, the others when it is back", async () => {
    const t = tag();
    const alice = await first.agent(`alice-${t}`);
    const near = await obliging(first, `near-${t}`);
    const bob = await obliging(second, `bob-${t}`);
    await untilDelivered(alice, `bob-${t}`);
    await redis.kill();
    for (const router of fixture.routers) await untilMetric(router, "bus_connected", 0);
    alice.post("near", `near-${t}`);
    expect(await outcome(alice, "near")).toBe("DELIVERED");
    for (let i = 0; i < 20; i += 1) alice.mail(`d${i}`, `bob-${t}`);
    await waitFor(() => bob.mailIds.length === 20, { what: "the durable ones" });
    await fixture.mesh.untilMail(0);
    alice.post("far", `bob-${t}`);
    // By now nobody is known there; that is no proof that nobody is.
    expect(await outcome(alice, "far")).toBe("OVERLOADED");
    alice.post("many", "", { toTopic: `nobody.${t}` });
    expect(await outcome(alice, "many")).toBe("OVERLOADED");
    await redis.restart();
    await untilDelivered(alice, `bob-${t}`);
    expect(near.deliveries).toHaveLength(1);
    await fixture.untilMet();
  });

  it("to a replica that is cut off end in time, and find one truth when it is back", async () => {
    const t = tag();
    const alice = await first.agent(`alice-${t}`);
    const silent = await third.agent(`silent-${t}`);
    const before = await third.agent(`moves-${t}`);
    before.autoAck = true;
    await untilDelivered(alice, `moves-${t}`);
    alice.post("open", `silent-${t}`, { timeout: { seconds: 60n, nanos: 0 } });
    await silent.delivery();
    const token = await fixture.mesh.identity.token({ sub: `user-${t}`, kind: "user" });
    const stop = new AbortController();
    const tail = first.messaging(token).tailTopic({ pattern: `${t}.>` }, { signal: stop.signal });
    const answers = tail[Symbol.asyncIterator]();
    await answers.next();
    fixture.proxies[2]?.cut();
    // Whoever watches a topic learns that something may be missing, though nothing more is published.
    expect((await answers.next()).value?.missed).toBeGreaterThan(0n);
    stop.abort();
    // Long before its own time is over: its replica is lost.
    expect(await outcome(alice, "open")).toBe("EXPIRED");
    await untilRefused(alice, `moves-${t}`);
    // The agent goes where it is heard; the replica that is cut off cannot know.
    const after = await obliging(second, `moves-${t}`, { resumeToken: before.resumeToken });
    expect(after.epoch).toBe(before.epoch);
    await untilDelivered(alice, `moves-${t}`);
    expect(before.peer.ended).toBe(false);
    fixture.proxies[2]?.heal();
    expect((await before.peer.untilEnded())?.reason).toBe("SESSION_SUPERSEDED");
    await fixture.untilMet();
    const carol = await third.agent(`carol-${t}`);
    await untilDelivered(carol, `moves-${t}`);
    const heard = after.deliveries.length;
    await untilDelivered(alice, `moves-${t}`);
    expect(after.deliveries.length).toBeGreaterThan(heard);
  });
});
