import { randomUUID } from "node:crypto";
import { DeliveryClass } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcomeName, type TestAgent } from "./_agent.ts";
import { startRegistry } from "./_registry.ts";
import { MeshFixture, type RunningRouter } from "./_router.ts";

let fixture: MeshFixture;
let router: RunningRouter;
let stopRegistry: () => Promise<void>;

/** Who can do what, in the eyes of the registry. */
const SKILLS: Readonly<Record<string, string>> = {
  "writer-1": "write",
  "writer-2": "write",
  "writer-3": "write",
  "absent-1": "archive",
  "sorter-1": "sort",
  "sorter-2": "sort",
};

beforeAll(async () => {
  fixture = await MeshFixture.create();
  const registry = await startRegistry(fixture, SKILLS);
  stopRegistry = registry.stop;
  router = await fixture.start({ registryAddress: registry.address });
});
afterAll(async () => {
  await fixture.close();
  await stopRegistry();
});

const tag = () => randomUUID().slice(0, 8);
const durable = { deliveryClass: DeliveryClass.DURABLE };

async function outcome(agent: TestAgent, messageId: string) {
  const found = await agent.outcomeOf(messageId);
  const { receivers, missed } = found;
  return { outcome: outcomeName(found), receivers, missed };
}

const subjects = (agent: TestAgent) => agent.deliveries.map(({ subject }) => subject);
const ackAll = (agent: TestAgent) => {
  for (const { deliveryId } of agent.deliveries) agent.ack(deliveryId);
};

describe("a topic", () => {
  it("reaches everyone whose pattern fits, once each, and not its sender", async () => {
    const t = tag();
    const [alice, bob, carol, dave] = await Promise.all(
      ["a", "b", "c", "d"].map((name) => router.agent(`${name}-${t}`)),
    );
    if (!alice || !bob || !carol || !dave) throw new Error("no agents");
    await alice.subscribe(`${t}.>`);
    await bob.subscribe(`${t}.orders.*`);
    await bob.subscribe(`${t}.orders.created`);
    await carol.subscribe(`${t}.>`);
    await dave.subscribe(`${t}.orders`);
    alice.post("m1", "", { toTopic: `${t}.orders.created`, subject: "s1" });
    expect(await outcome(alice, "m1")).toEqual({ outcome: "QUEUED", receivers: 2, missed: 0 });
    alice.post("m2", "", { toTopic: `${t}.orders.created.late`, subject: "s2" });
    expect(await outcome(alice, "m2")).toMatchObject({ receivers: 1 });
    await waitFor(() => carol.deliveries.length === 2, { what: "both messages" });
    expect(subjects(bob)).toEqual(["s1"]);
    expect(subjects(carol)).toEqual(["s1", "s2"]);
    expect(carol.deliveries[0]).toMatchObject({
      topic: `${t}.orders.created`,
      fromPrincipalId: `a-${t}`,
    });
    alice.post("m3", "", { toTopic: `${t}.nothing`.replace(t, `${t}x`) });
    expect(await outcome(alice, "m3")).toMatchObject({ outcome: "NO_SUCH_AGENT" });
    expect(alice.deliveries).toEqual([]);
    expect(dave.deliveries).toEqual([]);
    bob.send({ unsubscribes: [{ pattern: `${t}.orders.*` }, { pattern: `${t}.orders.created` }] });
    await waitFor(() => bob.subscriptionResults.length === 4, { what: "the end" });
    alice.post("m4", "", { toTopic: `${t}.orders.created` });
    expect(await outcome(alice, "m4")).toMatchObject({ receivers: 1 });
  });

  it("gives each message to one of a group, the least loaded", async () => {
    const t = tag();
    const alice = await router.agent(`a-${t}`);
    const busy = await router.agent(`busy-${t}`, { messageCredit: 0 });
    const idle = await router.agent(`idle-${t}`);
    idle.autoAck = true;
    for (const member of [busy, idle]) await member.subscribe(`${t}.work`, { group: "workers" });
    for (let i = 0; i < 10; i += 1) {
      alice.post(`m${i}`, "", { toTopic: `${t}.work`, subject: `${i}` });
      expect(await outcome(alice, `m${i}`)).toMatchObject({ receivers: 1 });
    }
    await waitFor(() => idle.deliveries.length === 10, { what: "all" });
    expect(subjects(idle)).toEqual(Array.from({ length: 10 }, (_, i) => `${i}`));
  });

  it("isolates a slow subscriber: it misses, its neighbours do not", async () => {
    const t = tag();
    const alice = await router.agent(`a-${t}`);
    const slow = await router.agent(`slow-${t}`, { messageCredit: 0 });
    const fast = await router.agent(`fast-${t}`, { messageCredit: 10_000 });
    fast.autoAck = true;
    await slow.subscribe(`${t}.news`);
    await fast.subscribe(`${t}.news`);
    const send = (from: number, to: number) =>
      alice.send({
        sends: Array.from({ length: to - from }, (_, i) => ({
          messageId: `m${from + i}`,
          toTopic: `${t}.news`,
        })),
      });
    for (let from = 0; from < 1_500; from += 500) send(from, from + 500);
    await waitFor(() => fast.deliveries.length === 1_500, { what: "all at the fast one" });
    expect(await outcome(alice, "m999")).toEqual({ outcome: "QUEUED", receivers: 2, missed: 0 });
    expect(await outcome(alice, "m1499")).toEqual({ outcome: "QUEUED", receivers: 1, missed: 1 });
  });

  it("keeps durable messages for durable subscribers that are away, and for nobody else", async () => {
    const t = tag();
    const alice = await router.agent(`a-${t}`);
    const kept = await router.agent(`kept-${t}`);
    const gone = await router.agent(`gone-${t}`);
    await kept.subscribe(`${t}.*`, { durable: true });
    await gone.subscribe(`${t}.*`);
    for (const agent of [kept, gone]) {
      agent.send({ goodbye: {} });
      await agent.peer.untilEnded();
    }
    alice.post("m1", "", { toTopic: `${t}.x`, ...durable });
    expect(await outcome(alice, "m1")).toEqual({ outcome: "QUEUED", receivers: 1, missed: 0 });
    alice.post("m2", "", { toTopic: `${t}.x` });
    expect(await outcome(alice, "m2")).toMatchObject({ outcome: "NO_SUCH_AGENT" });
    const back = await router.agent(`kept-${t}`);
    expect(await back.delivery()).toMatchObject({ messageId: "m1", topic: `${t}.x` });
    ackAll(back);
    await fixture.untilMail(0);
    const another = await fixture.start({ routerId: "another" });
    const bob = await another.agent(`b-${t}`);
    bob.post("m3", "", { toTopic: `${t}.y`, ...durable });
    expect(await back.delivery(1)).toMatchObject({ messageId: "m3" });
    back.send({ unsubscribes: [{ pattern: `${t}.*` }] });
    await waitFor(() => back.subscriptionResults.length === 1, { what: "the end" });
    await waitFor(
      async () => {
        bob.post(`again-${randomUUID()}`, "", { toTopic: `${t}.y`, ...durable });
        await waitFor(() => bob.outcomes.length > 0, { what: "an outcome" });
        return outcomeName(bob.outcomes.at(-1)) === "NO_SUCH_AGENT";
      },
      { what: "the other replica to know" },
    );
    await waitFor(
      async () => {
        ackAll(back);
        return (await fixture.mailCount()) === 0;
      },
      { what: "no mail" },
    );
    await another.stop();
  });

  it("bounds an agent's subscriptions", async () => {
    const agent = await router.agent(`many-${tag()}`);
    const pattern = (i: number) => `limit.${i}`;
    agent.send({ subscribes: Array.from({ length: 256 }, (_, i) => ({ pattern: pattern(i) })) });
    await waitFor(() => agent.subscriptionResults.length === 256, { what: "the results" });
    expect(await agent.subscribe(pattern(256))).toBe("SUBSCRIPTION_LIMIT");
    expect(await agent.subscribe(pattern(3))).toBe("");
  });
});

describe("a broadcast", () => {
  it("reaches every session of the namespace but the sender's", async () => {
    const ns = `ns-${tag()}`;
    const [alice, bob, carol] = await Promise.all(
      ["a", "b", "c"].map((name) => router.agent(name, { namespace: ns })),
    );
    if (!alice || !bob || !carol) throw new Error("no agents");
    alice.post("m1", "", { broadcast: true });
    expect(await outcome(alice, "m1")).toEqual({ outcome: "QUEUED", receivers: 2, missed: 0 });
    await Promise.all([bob.delivery(), carol.delivery()]);
    alice.post("m2", "", { broadcast: true, ...durable });
    expect(await outcome(alice, "m2")).toEqual({ outcome: "QUEUED", receivers: 2, missed: 0 });
    expect(await bob.delivery(1)).toMatchObject({ messageId: "m2" });
    await carol.delivery(1);
    for (const agent of [bob, carol]) ackAll(agent);
    await fixture.untilMail(0);
  });
});

describe("a capability", () => {
  it("goes to a member with a session and credit, and heals routes that are stale", async () => {
    const alice = await router.agent(`a-${tag()}`);
    // The registry knows writer-3, which has no session.
    const full = await router.agent("writer-1", { messageCredit: 0 });
    const free = await router.agent("writer-2");
    await waitFor(
      async () => {
        const messageId = `probe-${randomUUID()}`;
        alice.post(messageId, "", { toCapability: "write" });
        await waitFor(() => free.deliveries.length > 0 || alice.outcomes.length > 0, {
          what: "a word",
        });
        return free.deliveries.length > 0;
      },
      { what: "the watch of the registry" },
    );
    free.autoAck = true;
    for (let i = 0; i < 5; i += 1) alice.post(`m${i}`, "", { toCapability: "write" });
    expect(await outcome(alice, "m4")).toMatchObject({ outcome: "DELIVERED" });
    free.send({ goodbye: {} });
    await free.peer.untilEnded();
    alice.post("late", "", { toCapability: "write" });
    full.send({ credit: { messages: 1 } });
    const late = await waitFor(() => full.deliveries[0], { what: "the other member" });
    full.ack(late.deliveryId);
    expect(await outcome(alice, "late")).toMatchObject({ outcome: "DELIVERED" });
    alice.post("none", "", { toCapability: "fly" });
    expect(await outcome(alice, "none")).toMatchObject({ outcome: "NO_SUCH_AGENT" });
  });

  it("gives durable messages to the member that has less of them in hand", async () => {
    const alice = await router.agent(`a-${tag()}`);
    const slow = await router.agent("sorter-1", { messageCredit: 1_000 });
    const fast = await router.agent("sorter-2", { messageCredit: 1_000 });
    fast.autoAck = true;
    for (let i = 1; i <= 12; i += 1) {
      alice.post(`m${i}`, "", { toCapability: "sort", ...durable });
      expect(await outcome(alice, `m${i}`)).toMatchObject({ outcome: "QUEUED" });
      await waitFor(() => slow.deliveries.length + fast.deliveries.length === i, { what: "it" });
      // On the stream of its acknowledgement, so that this is taken in before the next message.
      fast.post(`done${i}`, alice.agentId);
      await waitFor(() => alice.deliveries.length === i, { what: "the fast one's word" });
    }
    expect(slow.deliveries.length).toBeLessThanOrEqual(1);
    ackAll(slow);
    await fixture.untilMail(0);
  });

  it("keeps a durable message for a member that has no session", async () => {
    const alice = await router.agent(`a-${tag()}`);
    alice.post("m1", "", { toCapability: "archive", ...durable });
    expect(await outcome(alice, "m1")).toMatchObject({ outcome: "QUEUED" });
    const archive = await router.agent("absent-1");
    expect(await archive.delivery()).toMatchObject({ messageId: "m1" });
    ackAll(archive);
    await fixture.untilMail(0);
  });
});

describe("an address", () => {
  it("is one", async () => {
    const alice = await router.agent(`a-${tag()}`);
    alice.post("m1", "bob", { toTopic: "x" });
    alice.post("m2", "", { toTopic: "x", broadcast: true });
    for (const id of ["m1", "m2"]) {
      expect(await alice.outcomeOf(id)).toMatchObject({ outcome: 5, reason: "MANY_ADDRESSES" });
    }
  });
});

describe("MessagingService.TailTopic", () => {
  it("shows what is published and takes no part in it", async () => {
    const t = tag();
    const alice = await router.agent(`a-${t}`);
    const token = await fixture.identity.token({ sub: "operator" });
    const seen: string[] = [];
    let begun = false;
    const stop = new AbortController();
    const watching = (async () => {
      const watch = router
        .messaging(token)
        .tailTopic({ pattern: `${t}.>` }, { signal: stop.signal });
      for await (const { messages } of watch) {
        begun = true;
        seen.push(...messages.map(({ topic, payload }) => `${topic} ${payload?.contentType}`));
      }
    })().catch(() => undefined);
    await waitFor(() => begun, { what: "the watch" });
    alice.post("m1", "", { toTopic: `${t}.a` });
    alice.post("m2", "", { toTopic: `${t}.b`, ...durable });
    expect(await outcome(alice, "m1")).toMatchObject({ outcome: "NO_SUCH_AGENT" });
    await waitFor(() => seen.length === 2, { what: "both" });
    expect(seen).toEqual([`${t}.a text/plain`, `${t}.b text/plain`]);
    stop.abort();
    await watching;
    const scopes = ["mesh:message:send"];
    const scopeless = router.messaging(await fixture.identity.token({ sub: "u", scopes }));
    const refused = async () => {
      for await (const _ of scopeless.tailTopic({ pattern: ">" })) return;
    };
    await expect(refused()).rejects.toMatchObject({ reason: "SCOPE_MISSING" });
  });
});

describe("MessagingService.ListRoutes", () => {
  it("says where agents are, page by page, in the caller's namespace", async () => {
    const ns = `ns-${tag()}`;
    const first = await router.agent("r-1", { namespace: ns, messageCredit: 7 });
    await router.agent("r-2", { namespace: ns });
    await first.subscribe("a.b");
    const token = await fixture.identity.token({ sub: "operator", ns });
    const page = await router.messaging(token).listRoutes({ page: { pageSize: 1 } });
    expect(page.routes).toMatchObject([
      { agentId: "r-1", routerId: "router-a", attached: true, credit: 7, subscriptions: ["a.b"] },
    ]);
    const pageToken = page.page?.nextPageToken ?? "";
    const rest = await router.messaging(token).listRoutes({ page: { pageToken } });
    expect(rest.routes.map(({ agentId }) => agentId)).toEqual(["r-2"]);
    const scopeless = router.messaging(await fixture.identity.token({ sub: "u", scopes: [] }));
    await expect(scopeless.listRoutes({})).rejects.toMatchObject({ reason: "SCOPE_MISSING" });
  });
});

describe("MessagingService.SendMessage", () => {
  it("sends to topics and to mailboxes, once under one id", async () => {
    const t = tag();
    const bob = await router.agent(`b-${t}`);
    await bob.subscribe(`${t}.x`);
    const messaging = router.messaging(await fixture.identity.token({ sub: "ursula" }));
    const toTopic = await messaging.sendMessage({ toTopic: `${t}.x` });
    expect(toTopic.outcome).toMatchObject({ outcome: 6, receivers: 1 });
    await bob.delivery();
    const request = { toAgentId: `b-${t}`, messageId: "once", ...durable };
    expect((await messaging.sendMessage(request)).outcome).toMatchObject({ duplicate: false });
    expect((await messaging.sendMessage(request)).outcome).toMatchObject({ duplicate: true });
    expect(await bob.delivery(1)).toMatchObject({ messageId: "once", fromPrincipalId: "ursula" });
    ackAll(bob);
    await fixture.untilMail(0);
    const both = { toAgentId: "a", toTopic: "b" };
    await expect(messaging.sendMessage(both)).rejects.toMatchObject({ kind: "invalid" });
  });
});
