import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  BatchGetEntriesResponseSchema,
  StateOpResultSchema,
  type StateService,
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

function errorOf(kind: "unavailable" | "unimplemented" | "invalid") {
  const error = new NexusError({ kind, reason: "REQUEST_INVALID", message: "why" });
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
    batchGetEntries: async () => {
      calls.push("get");
      return create(BatchGetEntriesResponseSchema);
    },
  } as unknown as Client;
  const frames = outbox.frames({ hello: { agentId: "a" } });
  const nextOps = async (): Promise<NonNullable<Frame["stateOps"]>> => {
    const { value } = await frames.next();
    return value?.stateOps ?? [];
  };
  const settle = (init: ResultInit) => lane.settle(create(StateOpResultSchema, init));
  return { lane, calls, nextOps, settle, state: throughSession(client, lane, TIMEOUT_MS) };
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
      vi.useFakeTimers();
    });
    afterEach(() => {
      vi.useRealTimers();
    });

    it("fail in time, and take their credit until the word comes", async () => {
      const { settle, state, calls } = session(1);
      const answer = state.writeEntries(writeOf("lost"));
      answer.catch(() => undefined);
      await vi.advanceTimersByTimeAsync(2 * TIMEOUT_MS);
      await expect(answer).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED" });
      await state.writeEntries(writeOf("meanwhile"));
      settle({ number: 1, result: { case: "written", value: {} } });
      void state.writeEntries(writeOf("in the session again"));
      await vi.advanceTimersByTimeAsync(1);
      expect(calls).toEqual(["meanwhile"]);
    });
  });
});
