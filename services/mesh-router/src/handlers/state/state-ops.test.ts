import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BatchGetEntriesResponseSchema, StateOpResultSchema } from "@nexus/proto/mesh";
import type { CallContext, InnerServing } from "@nexus/rpc";
import { decodeStatus } from "@nexus/rpc/client";
import { MiB, NexusError } from "@nexus/shared";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  FRAME_WITH_ANSWERS_MAX,
  STATE_ANSWER_BYTES_MAX,
  STATE_ANSWERS_BYTES_MAX,
  STATE_LINGER_MS,
  STATE_OPS_MAX,
  STATE_SESSION_ANSWERS_BYTES_MAX,
} from "../../domain/limits.ts";
import type { StateOp } from "../wire/state-op.ts";
import { type AnswerBudget, StateOps } from "./state-ops.ts";

/** A method whose answers and handlers end when the test says so. */
class FakeServing implements InnerServing {
  readonly answer: Promise<Buffer>;
  readonly ended: Promise<void>;
  endedBy: NexusError | undefined;
  finishHandler: () => void = () => undefined;
  resolve: (bytes: Buffer) => void = () => undefined;
  #reject: (error: NexusError) => void = () => undefined;

  constructor() {
    this.answer = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.#reject = reject;
    });
    this.ended = new Promise((resolve) => {
      this.finishHandler = resolve;
    });
  }

  end(error: NexusError): void {
    this.endedBy ??= error;
    this.#reject(error);
  }
}

const overError = new NexusError({ kind: "cancelled", reason: "CANCELLED", message: "over" });

function stream(budget: AnswerBudget = { bytes: 0 }) {
  const begun: FakeServing[] = [];
  const outcomes: string[] = [];
  const method = (): InnerServing => {
    const serving = new FakeServing();
    begun.push(serving);
    return serving;
  };
  const ops = new StateOps({
    methods: { get: method, write: method, transact: method },
    events: { stateOperated: (call, code) => outcomes.push(`${call} ${code}`) },
    budget,
    ctx: { service: "mesh-router" } as CallContext,
    onAnswer: () => undefined,
  });
  const begin = (number: number, call: StateOp["call"] | "none" = "get") =>
    ops.begin({
      number,
      call: call === "none" ? undefined : call,
      timeoutMs: 1_000,
      traceparent: "",
      request: Buffer.alloc(0),
    });
  /** Number and reason of each answer of a frame. */
  const frame = (bytes = 0) =>
    [...ops.take(bytes)].map((one) => {
      const { number, result } = fromBinary(StateOpResultSchema, one);
      return [number, result.case === "error" ? decodeStatus(result.value).reason : "ok"];
    });
  const finish = async (at: number, bytes = 0) => {
    const answer = create(BatchGetEntriesResponseSchema, { unreadKeys: ["k".repeat(bytes)] });
    begun[at]?.resolve(Buffer.from(toBinary(BatchGetEntriesResponseSchema, answer)));
    begun[at]?.finishHandler();
    await settled();
  };
  return { ops, begun, begin, frame, finish, outcomes, budget };
}

/** Lets what was resolved take effect. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

const upTo = (count: number) => Array.from({ length: count }, (_, at) => at + 1);

describe("StateOps", () => {
  it("asks for a call instead where an answer is too large for a frame", async () => {
    const { begin, finish, frame } = stream();
    begin(1);
    await finish(0, STATE_ANSWER_BYTES_MAX);
    expect(frame()).toEqual([[1, "STATE_OP_NO_ROOM"]]);
  });

  it("holds no more bytes of all sessions than the replica may, and gives them back", async () => {
    const budget = { bytes: STATE_ANSWERS_BYTES_MAX - MiB };
    const [one, two] = [stream(budget), stream(budget)];
    one.begin(1);
    await one.finish(0, MiB / 2);
    two.begin(1);
    await two.finish(0, MiB / 2);
    expect(two.frame()).toEqual([[1, "STATE_OP_NO_ROOM"]]);
    expect(one.frame()).toEqual([[1, "ok"]]);
    one.ops.frameLeft();
    two.ops.frameLeft();
    two.begin(2);
    await two.finish(1, MiB / 2);
    two.ops.end(overError);
    expect(budget.bytes).toBe(STATE_ANSWERS_BYTES_MAX - MiB);
  });

  it("answers that it does not know what is called", () => {
    const { begin, frame, outcomes } = stream();
    begin(3, "none");
    expect(frame()).toEqual([[3, "METHOD_NOT_FOUND"]]);
    expect(outcomes).toEqual(["unknown unimplemented"]);
  });

  it("runs no more handlers than it gives credit for, also when their operations are answered", async () => {
    const { begin, begun, frame } = stream();
    for (const number of upTo(STATE_OPS_MAX)) begin(number);
    for (const serving of begun) serving.end(overError);
    await settled();
    expect(frame()).toHaveLength(STATE_OPS_MAX);
    begin(20);
    expect(frame()).toEqual([[20, "STATE_OP_NO_ROOM"]]);
    begun[0]?.finishHandler();
    await settled();
    begin(21);
    expect([begun.length, frame()]).toEqual([STATE_OPS_MAX + 1, []]);
  });

  it("counts answers that were not written as credit that is out", async () => {
    const { begin, finish, frame } = stream();
    for (const number of upTo(STATE_OPS_MAX)) begin(number);
    await finish(0);
    expect(() => begin(20)).toThrow("no answer");
    frame();
    begin(20);
  });

  it("counts an answer as unread until the transport has taken its frame, or the stream is over", async () => {
    const { ops, begin, finish, frame, budget } = stream();
    for (const at of [0, 1]) {
      begin(at + 1);
      await finish(at, MiB);
      expect(frame()).toHaveLength(1);
      expect(ops.hasAnswers).toBe(true);
      expect(budget.bytes).toBeGreaterThan(MiB);
      if (at === 0) ops.frameLeft();
      else ops.end(overError);
      expect([ops.hasAnswers, budget.bytes]).toEqual([false, 0]);
    }
  });

  it("holds no more bytes of one session than it may, and small answers whatever waits", async () => {
    const budget = { bytes: STATE_ANSWERS_BYTES_MAX };
    const full = stream(budget);
    full.begin(1);
    await full.finish(0);
    expect(full.frame()).toEqual([[1, "ok"]]);
    const one = stream();
    for (const number of upTo(3)) {
      one.begin(number);
      await one.finish(number - 1, STATE_SESSION_ANSWERS_BYTES_MAX / 3);
    }
    const answers = upTo(3).flatMap(() => one.frame());
    expect(answers).toEqual([
      [1, "ok"],
      [2, "ok"],
      [3, "STATE_OP_NO_ROOM"],
    ]);
  });

  it("lets messages go first again after a frame of answers, however many large ones wait", async () => {
    const { ops, begin, finish, frame } = stream();
    for (const number of upTo(3)) {
      begin(number);
      await finish(number - 1, 2 * MiB);
    }
    expect(frame(2 * MiB)).toEqual([]);
    expect(ops.isOverdue).toBe(true);
    expect(frame()).toEqual([[1, "ok"]]);
    expect(ops.isOverdue).toBe(false);
    expect(frame(2 * MiB)).toEqual([]);
    expect(ops.isOverdue).toBe(true);
  });

  it("lets an answer go first that found no room beside messages", async () => {
    const { begin, finish, frame, ops } = stream();
    begin(1);
    await finish(0, FRAME_WITH_ANSWERS_MAX - 100);
    expect([frame(200), ops.isOverdue]).toEqual([[], true]);
    expect([frame(0), ops.isOverdue]).toEqual([[[1, "ok"]], false]);
  });

  it("ends what is cancelled, and answers it", async () => {
    const { begin, begun, frame, ops } = stream();
    begin(1);
    begin(2);
    ops.cancel(2);
    ops.cancel(9);
    await settled();
    expect(begun.map(({ endedBy }) => endedBy?.reason)).toEqual([undefined, "CANCELLED"]);
    expect(frame()).toEqual([[2, "CANCELLED"]]);
  });

  it("leaves out what runs when the stream is over", async () => {
    const { begin, begun, frame, ops } = stream();
    begin(1);
    ops.end(overError);
    begin(2);
    await settled();
    expect([begun.length, begun[0]?.endedBy, frame()]).toEqual([1, overError, []]);
  });

  describe("when its stream ends in good order", () => {
    beforeEach(() => {
      vi.useFakeTimers();
    });
    afterEach(() => {
      vi.useRealTimers();
    });

    it("begins nothing more, and waits for what runs, but not for long", async () => {
      const { begin, begun, frame, finish, ops } = stream();
      begin(1);
      begin(2);
      ops.finish();
      begin(3);
      expect([frame(), ops.isBusy]).toEqual([[[3, "SERVER_DRAINING"]], true]);
      await finish(0);
      expect([frame(), ops.isBusy]).toEqual([[[1, "ok"]], true]);
      await vi.advanceTimersByTimeAsync(STATE_LINGER_MS);
      expect([frame(), ops.isBusy]).toEqual([[[2, "SERVER_DRAINING"]], false]);
      expect(begun).toHaveLength(2);
    });
  });
});
