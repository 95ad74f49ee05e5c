import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  BatchGetEntriesResponseSchema,
  StateOpResultSchema,
  type StateService,
  type TransactRequest,
  TransactResponseSchema,
  type WriteEntriesRequest,
  WriteEntriesResponseSchema,
} from "@nexus/proto/mesh";
import { encodeStatus } from "@nexus/rpc";
import type { RpcClient } from "@nexus/rpc/client";
import { NexusError } from "@nexus/shared";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { throughSession } from "../state/session-calls.ts";
import { type Frame, Outbox } from "./outbox.ts";
import { OP_BYTES_MAX, StateLane } from "./state-lane.ts";

type Client = RpcClient<typeof StateService>;
type ResultInit = MessageInitShape<typeof StateOpResultSchema>;

const TIMEOUT_MS = 1_000;

function errorOf(kind: "unavailable" | "unimplemented" | "invalid", retryAfterMs?: number) {
  const details = retryAfterMs === undefined ? {} : { retryAfterMs };
  const error = new NexusError({ kind, reason: "REQUEST_INVALID", message: "why", details });
  return { case: "error" as const, value: new Uint8Array(encodeStatus(error, "mesh-router")) };
}

/** An agent's state with a session of so much credit; `calls` are those that went by themselves. */
function session(credit: number) {
  const outbox = new Outbox();
  const lane = new StateLane(outbox);
  lane.connected(credit);
  const calls: string[] = [];
  const client = {
    writeEntries: async ({ requestId }: WriteEntriesRequest) => {
      calls.push(requestId);
      return create(WriteEntriesResponseSchema);
    },
    transact: async ({ requestId }: TransactRequest) => {
      calls.push(requestId);
      return create(TransactResponseSchema);
    },
    batchGetEntries: async () => {
      calls.push("get");
      return create(BatchGetEntriesResponseSchema);
    },
  } as unknown as Client;
  const frames = outbox.frames({ hello: { agentId: "a" } });
  const nextFrame = async (): Promise<Frame> => (await frames.next()).value ?? {};
  const nextOps = async (): Promise<NonNullable<Frame["stateOps"]>> => {
    return (await nextFrame()).stateOps ?? [];
  };
  const settle = (init: ResultInit) => lane.settle(create(StateOpResultSchema, init));
  return {
    lane,
    calls,
    nextFrame,
    nextOps,
    settle,
    state: throughSession(client, lane, TIMEOUT_MS),
  };
}

function writeOf(requestId: string, data = new Uint8Array(1)) {
  const put = { case: "put" as const, value: { value: { data } } };
  return { requestId, bucket: "b", writes: [{ key: "k", operation: put }] };
}

describe("calls of state through the session", () => {
  it("share a frame, and each gets its own answer in any order", async () => {
    const { nextOps, settle, state, calls } = session(16);
    const answers = [
      state.writeEntries(writeOf("one")),
      state.batchGetEntries({ bucket: "b", keys: ["k"] }),
    ];
    await nextOps();
    const ops = await nextOps();
    expect(ops.map(({ call }) => call?.case)).toEqual(["write", "get"]);
    const [write, get] = ops.map(({ number }) => number ?? 0);
    settle({ number: get ?? 0, result: { case: "got", value: { unreadKeys: ["k"] } } });
    settle({ number: write ?? 0, result: { case: "written", value: { results: [{}] } } });
    expect(await Promise.all(answers)).toMatchObject([{ results: [{}] }, { unreadKeys: ["k"] }]);
    expect(calls).toEqual([]);
  });

  it("go by themselves without a session, without credit, and when they are large", async () => {
    const { lane, state, calls } = session(1);
    void state.writeEntries(writeOf("first"));
    await state.writeEntries(writeOf("no credit"));
    await state.writeEntries(writeOf("large", new Uint8Array(OP_BYTES_MAX + 1)));
    lane.connectionLost();
    await state.writeEntries(writeOf("no session"));
    expect(calls).toEqual(["no credit", "large", "first", "no session"]);
  });

  it("are repeated as calls under their own request id when the stream breaks, or the router cannot", async () => {
    const { lane, nextOps, settle, state, calls } = session(16);
    const answers = ["away", "older", "broken"].map((name) => state.writeEntries(writeOf(name)));
    await nextOps();
    const [away, older] = await nextOps();
    settle({ number: away?.number ?? 0, result: errorOf("unavailable") });
    settle({ number: older?.number ?? 0, result: errorOf("unimplemented") });
    await Promise.all(answers.slice(0, 2));
    lane.connectionLost();
    await answers[2];
    expect(calls).toEqual(["away", "older", "broken"]);
  });

  it("count what they take in their frame: contexts and preconditions too", async () => {
    const { state, calls } = session(16);
    const half = new Uint8Array(OP_BYTES_MAX / 2 + 1);
    const writes = [{ key: "k", operation: { case: "delete" as const, value: { context: half } } }];
    await state.writeEntries({
      requestId: "contexts",
      bucket: "b",
      writes: [...writes, ...writes],
    });
    const preconditions = Array.from({ length: OP_BYTES_MAX / 16 }, () => ({ key: "k" }));
    await state.transact({ requestId: "preconditions", bucket: "b", preconditions });
    expect(calls).toEqual(["contexts", "preconditions"]);
  });

  it("fail with the error that the router says", async () => {
    const { nextOps, settle, state, calls } = session(16);
    const answer = state.writeEntries(writeOf("wrong"));
    await nextOps();
    const [op] = await nextOps();
    settle({ number: op?.number ?? 0, result: errorOf("invalid") });
    await expect(answer).rejects.toMatchObject({ kind: "invalid", message: "why" });
    expect(calls).toEqual([]);
  });

  describe("without a word", () => {
    beforeEach(() => {
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    });
    afterEach(() => {
      vi.useRealTimers();
    });

    it("fail in time, are cancelled, and take their credit until the word comes", async () => {
      const { nextFrame, settle, state, calls } = session(1);
      const answer = state.writeEntries(writeOf("lost"));
      answer.catch(() => undefined);
      await nextFrame();
      expect((await nextFrame()).stateOps).toHaveLength(1);
      await vi.advanceTimersByTimeAsync(2 * TIMEOUT_MS);
      expect((await nextFrame()).stateCancels).toEqual([1]);
      await expect(answer).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED" });
      await state.writeEntries(writeOf("meanwhile"));
      settle({ number: 1, result: { case: "written", value: {} } });
      void state.writeEntries(writeOf("in the session again"));
      await vi.advanceTimersByTimeAsync(1);
      expect(calls).toEqual(["meanwhile"]);
    });

    it("are never sent once their time is over, and give their credit back", async () => {
      const { lane, nextFrame, nextOps, state, calls } = session(1);
      const late = state.writeEntries(writeOf("late"));
      late.catch(() => undefined);
      await nextFrame();
      await vi.advanceTimersByTimeAsync(2 * TIMEOUT_MS);
      await expect(late).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED" });
      void state.writeEntries(writeOf("next"));
      expect((await nextOps()).map(({ number }) => number)).toEqual([2]);
      lane.connectionLost();
      lane.connected(1);
      const barely = state.writeEntries(writeOf("barely"));
      barely.catch(() => undefined);
      await vi.advanceTimersByTimeAsync(TIMEOUT_MS + 1);
      expect(await nextOps()).toEqual([]);
      await expect(barely).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED" });
      expect(calls).toEqual(["next"]);
    });

    it("tell the router the time that is left when their frame leaves", async () => {
      const { nextFrame, nextOps, state } = session(1);
      void state.writeEntries(writeOf("waits"));
      await nextFrame();
      await vi.advanceTimersByTimeAsync(TIMEOUT_MS - 300);
      const [op] = await nextOps();
      expect(op?.timeout).toMatchObject({ seconds: 0n, nanos: 300_000_000 });
    });

    it("wait as long as the router asks, and keep its error when no time is left for a call", async () => {
      const { nextFrame, nextOps, settle, state, calls } = session(2);
      const answers = ["waits", "too late"].map((name) => state.writeEntries(writeOf(name)));
      answers[1]?.catch(() => undefined);
      await nextFrame();
      const [waits, late] = await nextOps();
      settle({ number: waits?.number ?? 0, result: errorOf("unavailable", 100) });
      settle({ number: late?.number ?? 0, result: errorOf("unavailable", TIMEOUT_MS) });
      await expect(answers[1]).rejects.toMatchObject({ kind: "unavailable", message: "why" });
      await vi.advanceTimersByTimeAsync(99);
      expect(calls).toEqual([]);
      await vi.advanceTimersByTimeAsync(1);
      await answers[0];
      expect(calls).toEqual(["waits"]);
    });
  });
});
