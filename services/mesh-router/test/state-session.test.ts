/** Calls of StateService that agents make in their sessions. */
import { createPool } from "@nexus/postgres";
import { StatePolicy, StateWriteStatus } from "@nexus/proto/mesh";
import { decodeStatus } from "@nexus/rpc/client";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TestAgent } from "./_agent.ts";
import type { MeshFixture, RunningRouter } from "./_router.ts";
import {
  id,
  newBucket,
  openStateBed,
  reasonOf,
  type StateBed,
  type StateClient,
  stateClient,
  text,
  textOf,
} from "./_state.ts";

const { LWW, COUNTER } = StatePolicy;
const { APPLIED } = StateWriteStatus;
/** Operations without an answer; the contract's credit. */
const CREDIT = 16;

let bed: StateBed;
let fixture: MeshFixture;
let router: RunningRouter;
let alice: StateClient;
let lastAgent = 0;

beforeAll(async () => {
  bed = await openStateBed(() => 7n);
  ({ fixture, router, alice } = bed);
});
afterAll(() => bed.close());

/** An agent that nothing else knows, with these scopes. */
async function newAgent(scopes?: string[]): Promise<TestAgent> {
  lastAgent += 1;
  const sub = `agent-${lastAgent}`;
  if (scopes === undefined) return router.agent(sub);
  const token = await fixture.identity.token({ sub, kind: "agent", scopes });
  return router.agent(sub, { token });
}

function putOf(bucket: string, key: string, value: string, more: object = {}) {
  const writes = [{ key, operation: { case: "put" as const, value: { value: text(value) } } }];
  return { case: "write" as const, value: { requestId: id(), bucket, writes, ...more } };
}

function addOf(bucket: string, key: string) {
  const writes = [{ key, operation: { case: "increment" as const, value: { delta: 1n } } }];
  return { case: "write" as const, value: { requestId: id(), bucket, writes } };
}

function getOf(bucket: string, ...keys: string[]) {
  return { case: "get" as const, value: { bucket, keys } };
}

/** The reason of an operation's failure; "none" when it went well. */
async function reason(agent: TestAgent, number: number): Promise<string> {
  const { result } = await agent.stateResult(number);
  return result.case === "error" ? decodeStatus(result.value).reason : "none";
}

/** Has somebody else hold a bucket until `release`. */
async function hold(bucket: string) {
  const { adminUrl, schema } = fixture.database;
  const pool = createPool({ url: adminUrl, max: 1, applicationName: "holder", schema });
  const holder = await pool.connect();
  await holder.query("BEGIN");
  await holder.query("SELECT FROM state_buckets WHERE name = $1 FOR UPDATE", [bucket]);
  return {
    release: async () => {
      await holder.query("ROLLBACK");
      holder.release();
      await pool.close();
    },
  };
}

/** Waits until a commit waits for a bucket that is held. */
async function untilWaiting(): Promise<void> {
  const waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
  const isWaiting = async () =>
    (await fixture.sql(`${waits} AND datname = current_database()`)).length > 0;
  await waitFor(isWaiting, { what: "the operation to wait for the bucket" });
}

describe("a state operation in a session", () => {
  it("writes, reads and transacts as the methods' own calls do", async () => {
    const bucket = await newBucket(alice, LWW);
    const agent = await newAgent();
    expect(agent.welcome?.stateCredit).toBe(CREDIT);
    const write = putOf(bucket, "a", "1");
    agent.send({ stateOps: [{ number: 5, call: write }] });
    const { result: written } = await agent.stateResult(5);
    const revision = written.case === "written" ? (written.value.results[0]?.revision ?? 0n) : 0n;
    expect(written.value).toMatchObject({ results: [{ status: APPLIED }] });
    const writes = [{ key: "b", operation: { case: "put" as const, value: { value: text("2") } } }];
    const preconditions = [{ key: "a", revision }];
    const value = { requestId: id(), bucket, preconditions, writes };
    agent.send({ stateOps: [{ number: 6, call: { case: "transact", value } }] });
    expect((await agent.stateResult(6)).result).toMatchObject({
      case: "transacted",
      value: { results: [{ revision: revision + 1n }] },
    });
    agent.send({ stateOps: [{ number: 7, call: getOf(bucket, "a", "b", "none") }] });
    const { result } = await agent.stateResult(7);
    expect(result.case === "got" && result.value.entries.map(textOf)).toEqual([["1"], ["2"]]);
    const { entry } = await alice.getEntry({ bucket, key: "a" });
    expect(entry?.lastChange?.principalId).toBe(agent.agentId);
  });

  it("counts once however often and wherever its request comes", async () => {
    const bucket = await newBucket(alice, COUNTER);
    const agent = await newAgent();
    const own = await stateClient(fixture, router, agent.agentId, { kind: "agent" });
    const add = addOf(bucket, "n");
    agent.send({ stateOps: [{ number: 1, call: add }] });
    await agent.stateResult(1);
    agent.send({ stateOps: [{ number: 2, call: add }] });
    const again = await agent.stateResult(2);
    const called = await own.writeEntries(add.value);
    expect([again.result.value, called]).toMatchObject([
      { results: [{ counter: 1n }] },
      { results: [{ counter: 1n }] },
    ]);
    const other = { ...add.value, writes: addOf(bucket, "m").value.writes };
    agent.send({ stateOps: [{ number: 3, call: { case: "write", value: other } }] });
    expect(await reason(agent, 3)).toBe("REQUEST_ID_REUSED");
  });

  it("is refused with the error of a call, and the session goes on", async () => {
    const bucket = await newBucket(alice, LWW);
    const agent = await newAgent();
    const lost = { task: { taskId: "t", fence: 6n } };
    agent.send({
      stateOps: [
        { number: 1, call: putOf(bucket, "not a key", "v") },
        { number: 2, call: putOf("no-such-bucket", "k", "v") },
        { number: 3, call: putOf(bucket, "k", "v", lost) },
        { number: 4, call: getOf(bucket) },
        { number: 5, call: putOf(bucket, "k", "v", { task: { taskId: "t", fence: 7n } }) },
      ],
    });
    const reasons = await Promise.all([1, 2, 3, 4, 5].map((number) => reason(agent, number)));
    expect(reasons).toEqual([
      "REQUEST_INVALID",
      "STATE_BUCKET_NOT_FOUND",
      "LEASE_LOST",
      "REQUEST_INVALID",
      "none",
    ]);
    const { result } = await agent.stateResult(1);
    const error = result.case === "error" ? decodeStatus(result.value) : undefined;
    expect(error?.details.fieldViolations?.[0]?.field).toBe("writes[0].key");
    expect(error?.kind).toBe("invalid");
  });

  it("needs the scope of its method, as the session's token has it then", async () => {
    const bucket = await newBucket(alice, LWW);
    const connect = "mesh:session:connect";
    const agent = await newAgent([connect, "mesh:state:read", "mesh:state:write"]);
    agent.send({ stateOps: [{ number: 1, call: putOf(bucket, "k", "v") }] });
    expect(await reason(agent, 1)).toBe("none");
    const { agentId: sub } = agent;
    const scopes = [connect, "mesh:state:read"];
    const accessToken = await fixture.identity.token({ sub, kind: "agent", scopes });
    agent.send({
      reauth: { accessToken },
      stateOps: [{ number: 2, call: putOf(bucket, "k", "w") }],
    });
    agent.send({ stateOps: [{ number: 3, call: getOf(bucket, "k") }] });
    expect([await reason(agent, 2), await reason(agent, 3)]).toEqual(["SCOPE_MISSING", "none"]);
    expect(textOf((await alice.getEntry({ bucket, key: "k" })).entry)).toEqual(["v"]);
  });

  it("is answered within its time, and the next ones are, while its bucket is held", async () => {
    const [stuck, free] = [await newBucket(alice, LWW), await newBucket(alice, LWW)];
    const agent = await newAgent();
    const holder = await hold(stuck);
    const timeout = { seconds: 0n, nanos: 100_000_000 };
    agent.send({ stateOps: [{ number: 1, timeout, call: putOf(stuck, "k", "v") }] });
    agent.send({ stateOps: [{ number: 2, call: putOf(free, "k", "v") }] });
    expect(await reason(agent, 2)).toBe("none");
    expect(await reason(agent, 1)).toBe("DEADLINE_EXCEEDED");
    await holder.release();
  });

  it("is answered that it is not known where it calls nothing, and the session goes on", async () => {
    const bucket = await newBucket(alice, LWW);
    const agent = await newAgent();
    agent.send({ stateOps: [{ number: 1 }, { number: 2, call: putOf(bucket, "k", "v") }] });
    const reasons = [await reason(agent, 1), await reason(agent, 2)];
    expect(reasons).toEqual(["METHOD_NOT_FOUND", "none"]);
  });

  it("is left out where its agent cancels it in time, and answered", async () => {
    const bucket = await newBucket(alice, COUNTER);
    const agent = await newAgent();
    const holder = await hold(bucket);
    const [first, second] = [addOf(bucket, "n"), addOf(bucket, "n")];
    agent.send({ stateOps: [{ number: 1, call: first }] });
    await untilWaiting();
    agent.send({ stateOps: [{ number: 2, call: second }] });
    agent.send({ stateCancels: [2, 3] });
    expect(await reason(agent, 2)).toBe("CANCELLED");
    await holder.release();
    expect(await reason(agent, 1)).toBe("none");
    agent.send({ stateOps: [{ number: 3, call: addOf(bucket, "n") }] });
    expect((await agent.stateResult(3)).result.value).toMatchObject({ results: [{ counter: 2n }] });
  });

  it("is answered before its stream ends when the agent says goodbye", async () => {
    const bucket = await newBucket(alice, COUNTER);
    const agent = await newAgent();
    agent.send({
      stateOps: [1, 2, 3].map((number) => ({ number, call: addOf(bucket, "n") })),
      goodbye: { reason: "done" },
    });
    expect(await agent.peer.untilEnded()).toBeUndefined();
    for (const number of [1, 2, 3]) expect(await reason(agent, number)).toBe("none");
  });

  it("is answered UNAVAILABLE where it takes longer than a stream's end may", async () => {
    const bucket = await newBucket(alice, COUNTER);
    const agent = await newAgent();
    const holder = await hold(bucket);
    agent.send({
      stateOps: [{ number: 1, call: addOf(bucket, "n") }],
      goodbye: { reason: "done" },
    });
    expect(await agent.peer.untilEnded()).toBeUndefined();
    expect(await reason(agent, 1)).toBe("SERVER_DRAINING");
    await holder.release();
  });

  it("is answered in several frames where the answers are large", async () => {
    const bucket = await newBucket(alice, LWW);
    const keys = Array.from({ length: 8 }, (_, at) => `k${at}`);
    const data = new Uint8Array(250_000);
    for (const key of keys) {
      await alice.putEntry({ requestId: id(), bucket, key, put: { value: { data } } });
    }
    const agent = await newAgent();
    const before = agent.peer.framesRead;
    const numbers = [1, 2, 3];
    agent.send({ stateOps: numbers.map((number) => ({ number, call: getOf(bucket, ...keys) })) });
    for (const number of numbers) {
      const { result } = await agent.stateResult(number);
      expect(result.case === "got" && result.value.entries.length).toBe(keys.length);
    }
    // Two of them are more than a frame holds.
    expect(agent.peer.framesRead - before).toBeGreaterThanOrEqual(numbers.length);
  });

  it.each(["SESSION_SUPERSEDED", "TOKEN_REVOKED"])(
    "is left out when its stream ends %s",
    async (why) => {
      const bucket = await newBucket(alice, COUNTER);
      lastAgent += 1;
      const sub = `agent-${lastAgent}`;
      const token = await fixture.identity.token({ sub, kind: "agent" });
      const agent = await router.agent(sub, { token });
      const holder = await hold(bucket);
      agent.send({ stateOps: [{ number: 1, call: addOf(bucket, "n") }] });
      await untilWaiting();
      agent.send({ stateOps: [{ number: 2, call: addOf(bucket, "n") }] });
      // Taken in before the stream ends: what comes behind them in their stream was answered.
      agent.send({ stateOps: [{ number: 3 }] });
      await agent.stateResult(3);
      if (why === "TOKEN_REVOKED") {
        fixture.identity.revoke(token);
        await agent.peer.untilEnded();
      }
      const next = await router.agent(sub, { resumeToken: agent.resumeToken });
      expect((await agent.peer.untilEnded())?.reason).toBe(why);
      await holder.release();
      next.send({ stateOps: [{ number: 4, call: addOf(bucket, "n") }] });
      const { result } = await next.stateResult(4);
      const counter = result.case === "written" ? (result.value.results[0]?.counter ?? 0n) : 0n;
      // The first may have been begun already.
      expect(Number(counter)).toBeLessThanOrEqual(2);
      expect(next.stateResults).toHaveLength(1);
    },
  );

  it("costs nothing else of its frame where it is one too many", async () => {
    const bucket = await newBucket(alice, LWW);
    const [sender, receiver] = [await newAgent(), await newAgent()];
    const ops = Array.from({ length: CREDIT + 1 }, (_, at) => ({
      number: at + 1,
      call: putOf(bucket, "k", "v"),
    }));
    receiver.autoAck = true;
    receiver.send({ credit: { messages: 1 } });
    sender.send({ sends: [{ messageId: "m", toAgentId: receiver.agentId }], stateOps: ops });
    expect((await sender.peer.untilEnded())?.reason).toBe("FRAME_INVALID");
    await receiver.delivery();
  });

  it("ends the stream beyond the credit, and where it is no operation", async () => {
    const bucket = await newBucket(alice, LWW);
    const holder = await hold(bucket);
    const greedy = await newAgent();
    const ops = (count: number) =>
      Array.from({ length: count }, (_, i) => ({ number: i + 1, call: putOf(bucket, "k", "v") }));
    greedy.send({ stateOps: ops(CREDIT) });
    greedy.send({ stateOps: ops(1) });
    expect((await greedy.peer.untilEnded())?.reason).toBe("FRAME_INVALID");
    await holder.release();
    const wrong = await newAgent();
    wrong.send({ stateOps: [{ number: 0, call: getOf(bucket, "k") }] });
    expect((await wrong.peer.untilEnded())?.reason).toBe("FRAME_INVALID");
  });

  it("counts once when its stream broke and a call repeats it", async () => {
    const bucket = await newBucket(alice, COUNTER);
    const agent = await newAgent();
    const own = await stateClient(fixture, router, agent.agentId, { kind: "agent" });
    const holder = await hold(bucket);
    // The second waits for the first; nobody waits for either any more.
    const [one, two] = [addOf(bucket, "n"), addOf(bucket, "n")];
    agent.send({ stateOps: [{ number: 1, call: one }] });
    agent.send({ stateOps: [{ number: 2, call: two }] });
    await untilWaiting();
    agent.peer.break();
    const repeats = [own.writeEntries(one.value), own.writeEntries(two.value)];
    await holder.release();
    expect(await Promise.all(repeats.map(reasonOf))).toEqual(["none", "none"]);
    expect((await alice.getEntry({ bucket, key: "n" })).entry?.counter).toBe(2n);
    const resumed = await router.agent(agent.agentId, { resumeToken: agent.resumeToken });
    resumed.send({ stateOps: [{ number: 1, call: getOf(bucket, "n") }] });
    expect((await resumed.stateResult(1)).result).toMatchObject({
      case: "got",
      value: { entries: [{ counter: 2n }] },
    });
    expect(resumed.stateResults).toHaveLength(1);
  });
});
