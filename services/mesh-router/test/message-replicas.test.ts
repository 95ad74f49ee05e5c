import { randomUUID } from "node:crypto";
import { AckKind, GatherMode, StatePolicy } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcomeName, type TestAgent } from "./_agent.ts";
import { ReplicaFixture } from "./_replicas.ts";
import type { RunningRouter } from "./_router.ts";
import { newBucket, put, stateClient, textOf, Watching } from "./_state.ts";

let fixture: ReplicaFixture;
let first: RunningRouter;
let second: RunningRouter;
let third: RunningRouter;

/** Who can do what, in the eyes of the registry. */
const SKILLS = { "far-writer": "write", "absent-writer": "write" };

beforeAll(async () => {
  fixture = await ReplicaFixture.create(3, SKILLS);
  [first, second, third] = fixture.routers as [RunningRouter, RunningRouter, RunningRouter];
});
afterAll(() => fixture.close());

const SHORT = { seconds: 0n, nanos: 300_000_000 };
const tag = () => randomUUID().slice(0, 8);

async function outcome(agent: TestAgent, messageId: string): Promise<string> {
  return outcomeName(await agent.outcomeOf(messageId));
}

async function obliging(router: RunningRouter, agentId: string, more = {}): Promise<TestAgent> {
  const agent = await router.agent(agentId, more);
  agent.autoAck = true;
  return agent;
}

describe("what one replica commits", () => {
  it("is told to the others, who need not ask: durable messages by the database, changes by the bus", async () => {
    const [sender, receiver] = [await first.agent("teller"), await third.agent("told")];
    const writer = await stateClient(fixture.mesh, first, "teller", { kind: "agent" });
    const reader = await stateClient(fixture.mesh, third, "told", { kind: "agent" });
    const bucket = await newBucket(writer, StatePolicy.LWW);
    const watching = await new Watching(reader, { bucket }).started();
    for (let round = 1; round <= 10; round += 1) {
      await put(writer, bucket, "k", `${round}`);
      await watching.untilChanges(round);
      sender.mail(`m${round}`, "told");
      await waitFor(() => receiver.mailIds.length === round, { what: `message ${round}` });
    }
    expect(watching.changes.map(({ entry }) => textOf(entry))).toEqual(
      Array.from({ length: 10 }, (_, at) => [`${at + 1}`]),
    );
    await writer.deleteBucket({ requestId: randomUUID(), bucket });
    await waitFor(() => watching.ended, { what: "the end of the watch" });
    for (const { deliveryId } of receiver.deliveries) receiver.ack(deliveryId);
    await fixture.mesh.untilMail(0);
  });
});

describe("a message to an agent at another replica", () => {
  it("is DELIVERED, with its sender's identity and in order", async () => {
    const t = tag();
    const alice = await first.agent(`alice-${t}`);
    const bob = await obliging(second, `bob-${t}`, { messageCredit: 1_000 });
    for (let i = 0; i < 200; i += 1) {
      alice.post(`m${i}`, `bob-${t}`, { subject: `s${i}`, traceparent: "00-trace" });
    }
    expect(await outcome(alice, "m199")).toBe("DELIVERED");
    expect(bob.deliveries.map(({ subject }) => subject)).toEqual(
      Array.from({ length: 200 }, (_, i) => `s${i}`),
    );
    expect(bob.deliveries[0]).toMatchObject({
      fromPrincipalId: `alice-${t}`,
      traceparent: "00-trace",
      expectsReply: false,
    });
    expect(new TextDecoder().decode(bob.deliveries[7]?.payload?.data)).toBe("m7");
    await waitFor(() => alice.outcomes.length === 200, { what: "an outcome for each" });
    expect(new Set(alice.outcomes.map(outcomeName))).toEqual(new Set(["DELIVERED"]));
  });

  it("is open for another reply while its asker has no room, and ends with a part that found none", async () => {
    const t = tag();
    const alice = await first.agent(`alice-${t}`, { messageCredit: 0 });
    const bob = await obliging(second, `bob-${t}`);
    const filler = await first.agent(`filler-${t}`);
    for (const id of ["whole", "parts"]) alice.post(id, `bob-${t}`, { expectsReply: true });
    await waitFor(() => bob.deliveries.length === 2, { what: "the requests" });
    const [whole, parts] = bob.deliveries.map(({ deliveryId }) => deliveryId) as [string, string];
    for (let i = 0; i <= 1_000; i += 1) filler.post(`f${i}`, `alice-${t}`);
    await filler.outcomeOf("f1000");
    bob.post("r", "", { inReplyTo: whole });
    expect(await outcome(bob, "r")).toBe("OVERLOADED");
    bob.post("p", "", { inReplyTo: parts, more: true });
    expect(await outcome(bob, "p")).toBe("OVERLOADED");
    expect(await alice.outcomeOf("parts")).toMatchObject({ reason: "REPLY_CUT" });
    await waitFor(() => bob.deliveryCancels.includes(parts), { what: "bob to be told" });
    alice.autoAck = true;
    alice.send({ credit: { messages: 2_000 } });
    await waitFor(() => alice.deliveries.length >= 1_000, { what: "the queue to be read" });
    bob.outcomes.length = 0;
    bob.post("r", "", { inReplyTo: whole });
    expect(await outcome(bob, "r")).toBe("DELIVERED");
    expect(await outcome(alice, "whole")).toBe("DELIVERED");
    expect(alice.deliveries.filter(({ inReplyTo }) => inReplyTo === "whole")).toHaveLength(1);
  });

  it("ends at once when its receiver says that it does not answer", async () => {
    const t = tag();
    const alice = await first.agent(`alice-${t}`);
    const bob = await second.agent(`bob-${t}`);
    alice.post("q", `bob-${t}`, { expectsReply: true });
    const { deliveryId } = await bob.delivery();
    const why = { reason: "BUSY", message: "not now" };
    bob.send({ acks: [{ deliveryId, kind: AckKind.REJECT, ...why }] });
    const { reason, failureReason, message } = await alice.outcomeOf("q");
    expect([reason, failureReason, message]).toEqual(["HANDLER_FAILED", "BUSY", "not now"]);
  });

  it("is NO_SUCH_AGENT when no replica has it", async () => {
    const alice = await first.agent(`alice-${tag()}`);
    alice.post("m1", "nobody-anywhere");
    expect(await outcome(alice, "m1")).toBe("NO_SUCH_AGENT");
  });

  it("is EXPIRED when it is not acknowledged, and OVERLOADED when there is no room", async () => {
    const t = tag();
    const alice = await first.agent(`alice-${t}`);
    await second.agent(`silent-${t}`);
    await second.agent(`stingy-${t}`, { messageCredit: 0 });
    alice.post("m1", `silent-${t}`, { timeout: SHORT });
    expect(await outcome(alice, "m1")).toBe("EXPIRED");
    for (let i = 0; i < 1_001; i += 1) alice.post(`n${i}`, `stingy-${t}`);
    const refused = await alice.outcomeOf("n1000");
    expect(outcomeName(refused)).toBe("OVERLOADED");
    expect(refused.retryAfter).toBeDefined();
    expect(alice.outcomes).toHaveLength(2);
  });

  it("is found by the table when the roster does not name it yet", async () => {
    const t = tag();
    const alice = await first.agent(`alice-${t}`);
    // Sent in the moment of the welcome: the news of the session are still on their way.
    const bob = await obliging(third, `bob-${t}`);
    alice.post("m1", `bob-${t}`);
    alice.post("m2", `bob-${t}`);
    expect(await outcome(alice, "m2")).toBe("DELIVERED");
    expect(bob.deliveries).toHaveLength(2);
  });
});

describe("an agent at another replica that reads and says nothing", () => {
  it("opens its breaker there, and its next word closes it", async () => {
    const t = tag();
    const alice = await first.agent(`alice-${t}`);
    const bob = await second.agent(`bob-${t}`);
    for (let i = 0; i < 5; i += 1) alice.post(`slow${i}`, `bob-${t}`, { timeout: SHORT });
    expect(await outcome(alice, "slow4")).toBe("EXPIRED");
    let spared = 0;
    // Its replica's own clock says when they ran out of time.
    await waitFor(
      async () => {
        spared += 1;
        alice.post(`spared${spared}`, `bob-${t}`, { timeout: SHORT });
        return (await outcome(alice, `spared${spared}`)) === "BREAKER_OPEN";
      },
      { what: "the breaker to open" },
    );
    bob.autoAck = true;
    bob.ack((await bob.delivery()).deliveryId);
    bob.post("words", `alice-${t}`);
    await alice.delivery();
    alice.post("next", `bob-${t}`);
    expect(await outcome(alice, "next")).toBe("DELIVERED");
  });
});

describe("a request to an agent at another replica", () => {
  it("is answered, also in parts, and only by whom it was sent to", async () => {
    const t = tag();
    const alice = await obliging(first, `alice-${t}`);
    const bob = await second.agent(`bob-${t}`);
    const mallory = await second.agent(`mallory-${t}`);
    alice.post("q1", `bob-${t}`, { expectsReply: true });
    const question = await bob.delivery();
    bob.ack(question.deliveryId);
    mallory.post("r0", "", { inReplyTo: question.deliveryId });
    expect(await mallory.outcomeOf("r0")).toMatchObject({ reason: "NOT_AWAITED" });
    bob.post("r1", "", { inReplyTo: question.deliveryId, more: true, subject: "one" });
    bob.post("r2", "", { inReplyTo: question.deliveryId, subject: "two" });
    expect(await outcome(alice, "q1")).toBe("DELIVERED");
    expect(await outcome(bob, "r1")).toBe("DELIVERED");
    expect(await outcome(bob, "r2")).toBe("DELIVERED");
    expect(alice.deliveries).toMatchObject([
      { inReplyTo: "q1", subject: "one", fromPrincipalId: `bob-${t}` },
      { inReplyTo: "q1", subject: "two" },
    ]);
    bob.post("r3", "", { inReplyTo: question.deliveryId });
    expect(await bob.outcomeOf("r3")).toMatchObject({ reason: "NOT_AWAITED" });
    expect(alice.outcomes).toHaveLength(1);
  });

  it("that is taken back is taken from its receiver", async () => {
    const t = tag();
    const alice = await first.agent(`alice-${t}`);
    const bob = await second.agent(`bob-${t}`);
    alice.post("q1", `bob-${t}`, { expectsReply: true });
    const { deliveryId } = await bob.delivery();
    bob.ack(deliveryId);
    alice.send({ sendCancels: ["q1"] });
    await waitFor(() => bob.deliveryCancels.includes(deliveryId), { what: "the cancel" });
    expect(await outcome(alice, "q1")).toBe("CANCELLED");
  });

  it("goes on being asked, however many answers before came too late", async () => {
    const t = tag();
    const alice = await obliging(first, `alice-${t}`);
    const bob = await obliging(second, `bob-${t}`);
    for (let i = 0; i < 10; i += 1) {
      alice.post(`slow${i}`, `bob-${t}`, { expectsReply: true, timeout: SHORT });
    }
    expect(await outcome(alice, "slow9")).toBe("EXPIRED");
    alice.post("next", `bob-${t}`, { expectsReply: true, subject: "next" });
    const question = await waitFor(() => bob.deliveries.find(({ subject }) => subject === "next"), {
      what: "the question",
    });
    bob.post("answer", "", { inReplyTo: question.deliveryId });
    expect(await outcome(alice, "next")).toBe("DELIVERED");
  });

  it("of a caller without a session is answered", async () => {
    const t = tag();
    const bob = await second.agent(`bob-${t}`);
    const token = await fixture.mesh.identity.token({ sub: `user-${t}`, kind: "user" });
    const called = first.messaging(token).callAgent({
      toAgentId: `bob-${t}`,
      payload: { contentType: "text/plain", data: new TextEncoder().encode("question") },
    });
    const question = await bob.delivery();
    expect(question.fromPrincipalId).toBe(`user-${t}`);
    bob.post("answer", "", { inReplyTo: question.deliveryId });
    const { reply } = await called;
    expect(new TextDecoder().decode(reply?.data)).toBe("answer");
    expect(await outcome(bob, "answer")).toBe("DELIVERED");
  });
});

describe("a message to many over three replicas", () => {
  it("reaches each subscriber and each watcher once, wherever they are", async () => {
    const t = tag();
    const [alice, bob, carol, dave] = [
      await first.agent(`alice-${t}`),
      await obliging(second, `bob-${t}`),
      await obliging(third, `carol-${t}`),
      await obliging(first, `dave-${t}`),
    ];
    await bob.subscribe(`${t}.>`);
    await bob.subscribe(`${t}.news`);
    await carol.subscribe(`${t}.*`);
    await dave.subscribe(`${t}.news`);
    const heard: string[] = [];
    const token = await fixture.mesh.identity.token({ sub: `user-${t}`, kind: "user" });
    const stop = new AbortController();
    const tail = third.messaging(token).tailTopic({ pattern: `${t}.>` }, { signal: stop.signal });
    const reading = (async () => {
      for await (const { messages } of tail) heard.push(...messages.map(({ topic }) => topic));
    })().catch(() => undefined);
    let published = 0;
    await waitFor(
      async () => {
        published += 1;
        alice.post(`probe-${published}`, "", { toTopic: `${t}.news` });
        const { receivers } = await alice.outcomeOf(`probe-${published}`);
        return receivers === 3 && heard.length > 0;
      },
      { what: "the interest of all to be known" },
    );
    const before = [bob, carol, dave].map(({ deliveries }) => deliveries.length);
    await waitFor(() => bob.deliveries.length >= (before[0] ?? 0), { what: "earlier ones" });
    alice.post("m1", "", { toTopic: `${t}.news`, subject: "last" });
    expect(await alice.outcomeOf("m1")).toMatchObject({ receivers: 3, missed: 0 });
    for (const agent of [bob, carol, dave]) {
      await waitFor(() => agent.deliveries.at(-1)?.subject === "last", { what: "the last one" });
      expect(agent.deliveries.filter(({ subject }) => subject === "last")).toHaveLength(1);
    }
    stop.abort();
    await reading;
  });

  it("reaches one member of each group", async () => {
    const t = tag();
    const alice = await first.agent(`alice-${t}`);
    const members = [
      await obliging(first, `one-${t}`),
      await obliging(second, `two-${t}`),
      await obliging(third, `three-${t}`),
    ];
    for (const member of members) await member.subscribe(`${t}.work`, { group: "workers" });
    const others = [await obliging(second, `four-${t}`), await obliging(third, `five-${t}`)];
    for (const other of others) await other.subscribe(`${t}.work`, { group: "others" });
    await waitFor(
      async () => {
        const id = `probe-${tag()}`;
        alice.post(id, "", { toTopic: `${t}.work`, subject: "probe" });
        return (await alice.outcomeOf(id)).receivers === 2;
      },
      { what: "both groups to be known" },
    );
    for (let i = 0; i < 60; i += 1) {
      alice.post(`m${i}`, "", { toTopic: `${t}.work`, subject: `s${i}` });
    }
    await alice.outcomeOf("m59");
    const work = (agents: readonly TestAgent[]) =>
      agents
        .flatMap(({ deliveries }) => deliveries.map(({ subject }) => subject))
        .filter((subject) => subject !== "probe")
        .toSorted();
    const all = Array.from({ length: 60 }, (_, i) => `s${i}`).toSorted();
    await waitFor(() => work(members).length >= 60 && work(others).length >= 60, { what: "all" });
    expect(work(members)).toEqual(all);
    expect(work(others)).toEqual(all);
  });

  it("goes to everyone, and to whoever can do it", async () => {
    const t = tag();
    const namespace = `team-${t}`;
    const alice = await first.agent(`alice-${t}`, { namespace });
    const bob = await obliging(second, `bob-${t}`, { namespace });
    const carol = await obliging(third, `carol-${t}`, { namespace });
    await waitFor(
      async () => {
        const id = `all-${tag()}`;
        alice.post(id, "", { broadcast: true });
        return (await alice.outcomeOf(id)).receivers === 2;
      },
      { what: "both to be known" },
    );
    await waitFor(() => bob.deliveries.length > 0 && carol.deliveries.length > 0, { what: "both" });
    const dave = await first.agent(`dave-${t}`);
    const writer = await obliging(third, "far-writer");
    await waitFor(
      async () => {
        const id = `task-${tag()}`;
        dave.post(id, "", { toCapability: "write" });
        return (await outcome(dave, id)) === "DELIVERED";
      },
      { what: "the writer to be known" },
    );
    expect(writer.deliveries.at(-1)?.fromPrincipalId).toBe(`dave-${t}`);
  });

  it("that asks many takes the first answers, and the question back from the others", async () => {
    const t = tag();
    const namespace = `team-${t}`;
    const alice = await obliging(first, `alice-${t}`, { namespace });
    const others = [
      await second.agent(`bob-${t}`, { namespace }),
      await third.agent(`carol-${t}`, { namespace }),
      await second.agent(`dave-${t}`, { namespace }),
    ];
    await waitFor(
      async () => {
        const id = `all-${tag()}`;
        alice.post(id, "", { broadcast: true, subject: "probe" });
        return (await alice.outcomeOf(id)).receivers === 3;
      },
      { what: "all to be known" },
    );
    const gather = { mode: GatherMode.QUORUM, quorum: 2 };
    alice.post("q1", "", { broadcast: true, expectsReply: true, gather, subject: "q" });
    const questions = await Promise.all(
      others.map(({ deliveries }) =>
        waitFor(() => deliveries.find(({ subject }) => subject === "q"), { what: "the question" }),
      ),
    );
    for (const [index, agent] of others.slice(0, 2).entries()) {
      agent.post("r", "", { inReplyTo: questions[index]?.deliveryId ?? "" });
    }
    expect(await alice.outcomeOf("q1")).toMatchObject({ receivers: 3, replies: 2 });
    const last = others[2] as TestAgent;
    await waitFor(() => last.deliveryCancels.includes(questions[2]?.deliveryId ?? ""), {
      what: "the question to be taken back",
    });
  });
});
