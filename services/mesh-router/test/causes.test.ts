import { randomUUID } from "node:crypto";
import { GatherMode } from "@nexus/proto/mesh";
import { LeaseService } from "@nexus/proto/orchestrator";
import { createRpcServer } from "@nexus/rpc";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import { freePort, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcomeName, type TestAgent } from "./_agent.ts";
import { MeshFixture, type RunningRouter } from "./_router.ts";

let fixture: MeshFixture;
let router: RunningRouter;
let stopOrchestrator: () => Promise<void>;
/** Fences that hold; any other is lost. */
const held = new Set<bigint>();
let checks = 0;
let away = false;
/** What a check waits for before it answers. */
let pause: Promise<void> = Promise.resolve();

beforeAll(async () => {
  fixture = await MeshFixture.create();
  const port = await freePort();
  const orchestrator = createRpcServer({
    service: "orchestrator",
    host: "127.0.0.1",
    port,
    logger: createSilentLogger(),
    metrics: createMetrics("orchestrator"),
    verifier: fixture.identity.verifier,
  }).add(LeaseService, {
    check: async ({ claims }) => {
      checks += claims.length;
      await pause;
      if (away) throw new NexusError({ kind: "internal", reason: "INTERNAL", message: "no" });
      const verdicts = claims.map(({ fence, agentId }) => {
        const valid = held.has(fence) && agentId !== "thief";
        const why = held.has(fence) ? "NOT_HOLDER" : "LEASE_LOST";
        const reason = valid ? "" : why;
        return { valid, reason, cacheFor: { seconds: valid ? 1n : 0n, nanos: 0 } };
      });
      return { verdicts };
    },
  });
  await orchestrator.listen();
  stopOrchestrator = () => orchestrator.close(200);
  const orchestratorAddress = `127.0.0.1:${port}`;
  router = await fixture.start({ orchestratorAddress, pairCausedPerMinute: 3 });
});
afterAll(async () => {
  await fixture.close();
  await stopOrchestrator();
});

const tag = () => randomUUID().slice(0, 8);
const SHORT = { seconds: 0n, nanos: 80_000_000 };

async function agents(count: number): Promise<TestAgent[]> {
  const t = tag();
  return Promise.all(Array.from({ length: count }, (_, i) => router.agent(`${"abcdef"[i]}-${t}`)));
}

const idOf = (agent: TestAgent): string => agent.agentId;

async function outcome(agent: TestAgent, messageId: string): Promise<string> {
  return outcomeName(await agent.outcomeOf(messageId));
}

/** What a receiver passes on, as the contract says: the chain as it came, or one hop from the sender. */
function chainOf(delivery: TestAgent["deliveries"][number] | undefined) {
  return delivery?.chain ?? { hops: 1, ancestors: [delivery?.fromPrincipalId ?? ""] };
}

describe("a causal chain", () => {
  it("ends where it would come back to one of its senders", async () => {
    const [a, b, c] = (await agents(3)) as [TestAgent, TestAgent, TestAgent];
    a.post("m1", idOf(b));
    const first = await b.delivery();
    b.post("back", idOf(a), { chain: chainOf(first) });
    expect(await outcome(b, "back")).toBe("LOOP");
    b.post("on", idOf(c), { chain: chainOf(first) });
    const second = await c.delivery();
    expect(second.chain).toMatchObject({ hops: 2, ancestors: [idOf(a), idOf(b)] });
    c.post("around", idOf(a), { chain: chainOf(second) });
    expect(await outcome(c, "around")).toBe("LOOP");
    for (const agent of [a, b, c]) await agent.subscribe(`ring.${idOf(a)}`);
    c.post("all", "", { toTopic: `ring.${idOf(a)}`, chain: chainOf(second) });
    expect(await outcome(c, "all")).toBe("NO_SUCH_AGENT");
  });

  it("has the sender's name from the token, whatever the frame says", async () => {
    const [a, b] = (await agents(2)) as [TestAgent, TestAgent];
    a.post("m1", idOf(b), { chain: { hops: 1, ancestors: ["somebody"] } });
    const delivery = await b.delivery();
    expect(delivery.fromPrincipalId).toBe(idOf(a));
    expect(delivery.chain?.ancestors).toEqual(["somebody", idOf(a)]);
    const spoof = await router.agentUnwelcomed(idOf(a), { helloAs: idOf(b) });
    expect(await spoof.peer.untilEnded()).toMatchObject({ reason: "AGENT_ID_MISMATCH" });
  });

  it("ends after eight hops, and with the time of whoever waits at its beginning", async () => {
    const [a, b] = (await agents(2)) as [TestAgent, TestAgent];
    a.post("m8", idOf(b), { chain: { hops: 7, ancestors: ["x"] } });
    expect((await b.delivery()).chain?.hops).toBe(8);
    a.post("m9", idOf(b), { chain: { hops: 8, ancestors: ["x"] } });
    expect(await outcome(a, "m9")).toBe("HOP_LIMIT");
    a.post("late", idOf(b), { chain: { hops: 1, ancestors: ["x"], left: { seconds: 0n } } });
    expect(await outcome(a, "late")).toBe("EXPIRED");
    a.post("short", idOf(b), { chain: { hops: 1, ancestors: ["x"], left: SHORT } });
    const short = await b.delivery(1);
    expect(short.timeout?.seconds).toBe(0n);
    expect(short.chain?.left?.seconds).toBe(0n);
    expect(await outcome(a, "short")).toBe("EXPIRED");
  });

  it("uses up its pair's budget, and nobody else's", async () => {
    const [a, b, c] = (await agents(3)) as [TestAgent, TestAgent, TestAgent];
    for (const agent of [b, c]) agent.autoAck = true;
    const caused = { chain: { hops: 1, ancestors: ["x"] } };
    for (let i = 0; i < 4; i += 1) a.post(`m${i}`, idOf(b), caused);
    const over = await a.outcomeOf("m3");
    expect([outcomeName(over), over.reason]).toEqual(["OVERLOADED", "PAIR_BUDGET"]);
    expect(over.retryAfter?.seconds).toBeGreaterThan(10n);
    a.post("other", idOf(c), caused);
    a.post("free", idOf(b));
    expect(await outcome(a, "other")).toBe("DELIVERED");
    expect(await outcome(a, "free")).toBe("DELIVERED");
  });
});

describe("a message under a lease", () => {
  it("is refused when the lease is over, or another's, and keeps its place when it is checked", async () => {
    const [a, b] = (await agents(2)) as [TestAgent, TestAgent];
    b.autoAck = true;
    held.add(7n);
    const lease = (fence: bigint) => ({ lease: { taskId: "task_1", fence } });
    a.post("m1", idOf(b), lease(7n));
    a.post("m2", idOf(b));
    a.post("m3", idOf(b), lease(8n));
    a.post("m4", idOf(b), lease(7n));
    expect(await outcome(a, "m4")).toBe("DELIVERED");
    expect(await a.outcomeOf("m3")).toMatchObject({ outcome: 5, reason: "LEASE_LOST" });
    const order = b.deliveries.map(({ payload }) => new TextDecoder().decode(payload?.data));
    expect(order).toEqual(["m1", "m2", "m4"]);
    const thief = await router.agent("thief");
    thief.post("m5", idOf(b), lease(7n));
    expect(await thief.outcomeOf("m5")).toMatchObject({ reason: "NOT_HOLDER" });
  });

  it("is asked about once while the answer may be kept, and refused when nobody answers", async () => {
    const [a, b] = (await agents(2)) as [TestAgent, TestAgent];
    b.autoAck = true;
    held.add(9n);
    const before = checks;
    const lease = { lease: { taskId: "task_2", fence: 9n } };
    a.send({
      sends: Array.from({ length: 50 }, (_, i) => ({
        messageId: `m${i}`,
        toAgentId: idOf(b),
        ...lease,
      })),
    });
    expect(await outcome(a, "m49")).toBe("DELIVERED");
    expect(checks - before).toBe(1);
    away = true;
    a.post("blind", idOf(b), { lease: { taskId: "task_3", fence: 9n } });
    expect(await a.outcomeOf("blind")).toMatchObject({ outcome: 5, reason: "LEASE_UNCHECKED" });
    away = false;
  });

  it("has its outcome in time and can be taken back while nobody answers, and holds up no other pair", async () => {
    const [a, b, c] = (await agents(3)) as [TestAgent, TestAgent, TestAgent];
    for (const agent of [b, c]) agent.autoAck = true;
    let answerAll: () => void = () => undefined;
    pause = new Promise((resolve) => {
      answerAll = resolve;
    });
    const lease = { lease: { taskId: "task_4", fence: 7n } };
    for (let i = 0; i < 20; i += 1) a.post(`short${i}`, idOf(b), { ...lease, timeout: SHORT });
    a.post("taken-back", idOf(b), lease);
    a.post("taken-back", idOf(b), lease);
    a.post("other", idOf(c));
    expect(await outcome(a, "other")).toBe("DELIVERED");
    expect(await a.outcomeOf("taken-back")).toMatchObject({ reason: "MESSAGE_ID_PENDING" });
    expect(await outcome(a, "short19")).toBe("EXPIRED");
    a.send({ sendCancels: ["taken-back"] });
    const ends = () => a.outcomes.filter(({ messageId }) => messageId === "taken-back");
    await waitFor(() => ends().length === 2, { what: "the end of what was taken back" });
    expect(ends().map(outcomeName)).toEqual(["REFUSED", "CANCELLED"]);
    answerAll();
    expect(b.deliveries).toEqual([]);
  });
});

describe("an agent that sends by calls", () => {
  async function caller() {
    const name = `caller-${tag()}`;
    const token = await fixture.identity.token({ sub: name, kind: "agent" });
    return { name, client: router.messaging(token) };
  }

  it("meets its ancestors, the limit of hops and its pair's budget as in a session", async () => {
    const [b] = (await agents(1)) as [TestAgent];
    b.autoAck = true;
    const { name, client } = await caller();
    const send = async (chain: { hops: number; ancestors: string[] }) => {
      const { outcome: sent } = await client.sendMessage({ toAgentId: idOf(b), chain });
      return sent;
    };
    expect(outcomeName(await send({ hops: 1, ancestors: [idOf(b)] }))).toBe("LOOP");
    expect(outcomeName(await send({ hops: 8, ancestors: ["x"] }))).toBe("HOP_LIMIT");
    expect(outcomeName(await send({ hops: 1, ancestors: ["x"] }))).toBe("DELIVERED");
    expect((await b.delivery()).chain).toMatchObject({ hops: 2, ancestors: ["x", name] });
    for (let i = 0; i < 2; i += 1) await send({ hops: 1, ancestors: ["x"] });
    expect(await send({ hops: 1, ancestors: ["x"] })).toMatchObject({ reason: "PAIR_BUDGET" });
    const { outcome: called } = await client.callAgent({
      toAgentId: idOf(b),
      chain: { hops: 1, ancestors: [idOf(b)] },
    });
    expect(outcomeName(called)).toBe("LOOP");
  });

  it("is fenced by the lease that it names", async () => {
    const [b] = (await agents(1)) as [TestAgent];
    b.autoAck = true;
    held.add(11n);
    const { client } = await caller();
    const under = async (fence: bigint) => {
      const lease = { taskId: "task_5", fence };
      const { outcome: sent } = await client.sendMessage({ toAgentId: idOf(b), lease });
      return sent;
    };
    expect(outcomeName(await under(11n))).toBe("DELIVERED");
    expect(await under(12n)).toMatchObject({ outcome: 5, reason: "LEASE_LOST" });
    const call = { toAgentId: idOf(b), lease: { taskId: "task_5", fence: 12n } };
    expect((await client.callAgent(call)).outcome).toMatchObject({ reason: "LEASE_LOST" });
  });
});

describe("a receiver that reads and says nothing", () => {
  it("opens its breaker, which its word closes", async () => {
    const [a, b] = (await agents(2)) as [TestAgent, TestAgent];
    for (let i = 0; i < 5; i += 1) a.post(`m${i}`, idOf(b), { timeout: SHORT });
    expect(await outcome(a, "m4")).toBe("EXPIRED");
    a.post("spared", idOf(b));
    const open = await a.outcomeOf("spared");
    expect(outcomeName(open)).toBe("BREAKER_OPEN");
    expect(open.retryAfter).toBeDefined();
    b.autoAck = true;
    const { deliveryId } = await b.delivery();
    b.ack(deliveryId);
    // On the same stream, so it is taken in behind the late word.
    b.post("words", idOf(a));
    await a.delivery();
    a.post("again", idOf(b));
    expect(await outcome(a, "again")).toBe("DELIVERED");
  });

  it("is asked anew with its next stream", async () => {
    const [a, b] = (await agents(2)) as [TestAgent, TestAgent];
    for (let i = 0; i < 5; i += 1) a.post(`m${i}`, idOf(b), { timeout: SHORT });
    expect(await outcome(a, "m4")).toBe("EXPIRED");
    b.peer.break();
    const back = await router.agent(idOf(b), { resumeToken: b.resumeToken });
    back.autoAck = true;
    a.post("again", idOf(b));
    expect(await outcome(a, "again")).toBe("DELIVERED");
  });
});

describe("a request to many", () => {
  async function scene() {
    const all = await agents(4);
    const [asker, ...others] = all as [TestAgent, TestAgent, TestAgent, TestAgent];
    const topic = `ask.${idOf(asker)}`;
    for (const other of others) await other.subscribe(topic);
    const ask = (mode: GatherMode, quorum = 0, more: object = {}) =>
      asker.post("q", "", {
        toTopic: topic,
        expectsReply: true,
        gather: { mode, quorum },
        ...more,
      });
    const answer = async (agent: TestAgent, messageId = "r") =>
      agent.post(messageId, "", { inReplyTo: (await agent.delivery()).deliveryId });
    return { asker, others, ask, answer };
  }

  it("is DELIVERED with the first reply, and takes the question back from the others", async () => {
    const { asker, others, ask, answer } = await scene();
    ask(GatherMode.FIRST);
    await Promise.all(others.map((other) => other.delivery()));
    await answer(others[0]);
    expect(await asker.outcomeOf("q")).toMatchObject({ outcome: 1, receivers: 3, replies: 1 });
    expect(asker.deliveries).toMatchObject([{ inReplyTo: "q", fromPrincipalId: idOf(others[0]) }]);
    for (const late of others.slice(1)) {
      await waitFor(() => late.deliveryCancels.length === 1, { what: "the cancel" });
      await answer(late);
      expect(await late.outcomeOf("r")).toMatchObject({ outcome: 5, reason: "NOT_AWAITED" });
    }
  });

  it("waits for all, or for a quorum", async () => {
    const one = await scene();
    one.ask(GatherMode.ALL);
    for (const other of one.others) await one.answer(other);
    expect(await one.asker.outcomeOf("q")).toMatchObject({ outcome: 1, replies: 3 });
    const two = await scene();
    two.ask(GatherMode.QUORUM, 2);
    for (const other of two.others.slice(0, 2)) await two.answer(other);
    expect(await two.asker.outcomeOf("q")).toMatchObject({ outcome: 1, replies: 2 });
  });

  it("ends when there cannot be enough replies, or they do not come in time", async () => {
    const { asker, others, ask, answer } = await scene();
    ask(GatherMode.QUORUM, 4);
    expect(await asker.outcomeOf("q")).toMatchObject({ reason: "QUORUM_IMPOSSIBLE", receivers: 3 });
    const two = await scene();
    two.ask(GatherMode.ALL, 0, { timeout: { seconds: 0n, nanos: 300_000_000 } });
    await two.answer(two.others[0]);
    expect(await two.asker.outcomeOf("q")).toMatchObject({ outcome: 3, replies: 1 });
    const three = await scene();
    three.ask(GatherMode.FIRST);
    for (const other of three.others) {
      await other.delivery();
      other.send({ goodbye: {} });
    }
    expect(outcomeName(await three.asker.outcomeOf("q"))).toBe("EXPIRED");
    expect([others.length, typeof answer]).toEqual([3, "function"]);
  });

  it("is refused without gather, and gather without a request to many", async () => {
    const [a, b] = (await agents(2)) as [TestAgent, TestAgent];
    a.post("m1", "", { toTopic: "x", expectsReply: true });
    a.post("m2", idOf(b), { expectsReply: true, gather: { mode: GatherMode.ALL } });
    a.post("m3", "", { broadcast: true, expectsReply: true, gather: { mode: GatherMode.QUORUM } });
    for (const id of ["m1", "m2", "m3"]) {
      expect(await a.outcomeOf(id)).toMatchObject({ outcome: 5, reason: "GATHER_INVALID" });
    }
  });
});

describe("a reply in parts", () => {
  it("comes in order, and after a broken stream goes on behind what was acknowledged", async () => {
    const [a, b] = (await agents(2)) as [TestAgent, TestAgent];
    a.post("q", idOf(b), { expectsReply: true });
    const inReplyTo = (await b.delivery()).deliveryId;
    for (let i = 1; i <= 4; i += 1) b.post(`p${i}`, "", { inReplyTo, more: true });
    await waitFor(() => a.deliveries.length === 4, { what: "four parts" });
    expect(a.deliveries.map(({ part, more }) => [part, more])).toEqual(
      [1, 2, 3, 4].map((part) => [part, true]),
    );
    a.ack(a.deliveries[0]?.deliveryId ?? "");
    a.ack(a.deliveries[1]?.deliveryId ?? "");
    await b.outcomeOf("p2");
    a.peer.break();
    const back = await router.agent(idOf(a), { resumeToken: a.resumeToken });
    b.post("p5", "", { inReplyTo });
    await waitFor(() => back.deliveries.length === 3, { what: "the rest" });
    expect(back.deliveries.map(({ part, more }) => [part, more])).toEqual([
      [3, true],
      [4, true],
      [5, false],
    ]);
    expect(await outcome(back, "q")).toBe("DELIVERED");
    b.post("p6", "", { inReplyTo });
    expect(await b.outcomeOf("p6")).toMatchObject({ reason: "NOT_AWAITED" });
  });
});

describe("a message that its sender takes back", () => {
  it("is CANCELLED, and its receiver told", async () => {
    const [a, b] = (await agents(2)) as [TestAgent, TestAgent];
    a.post("q", idOf(b), { expectsReply: true });
    const { deliveryId } = await b.delivery();
    a.send({ sendCancels: ["q", "unknown"] });
    expect(await outcome(a, "q")).toBe("CANCELLED");
    await waitFor(() => b.deliveryCancels.includes(deliveryId), { what: "the cancel" });
    b.post("r", "", { inReplyTo: deliveryId });
    expect(await b.outcomeOf("r")).toMatchObject({ reason: "NOT_AWAITED" });
  });
});
