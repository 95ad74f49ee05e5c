import { PassingMap } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { FRAME_BYTES_MAX, OUTBOX_ITEMS_MAX } from "../limits.ts";
import { Breaker } from "./breaker.ts";
import { Caller } from "./caller.ts";
import { Inbox } from "./inbox.ts";
import { Message } from "./message.ts";
import { Outbox } from "./outbox.ts";

const order = (taskId: string, size = 10, fence = 1n) => ({
  taskId,
  fence,
  bytes: new Uint8Array(size),
});

function delivery(id: string, size = 10): Message {
  const nothing = new Uint8Array();
  const message = new Message({
    deliveryId: id,
    letter: {
      messageId: id,
      toAgentId: "bob",
      payload: new Uint8Array(size),
      subject: nothing,
      expectsReply: false,
      inReplyTo: "",
      timeoutMs: 1_000,
      traceparent: nothing,
    },
    sender: new Caller("default", "ursula"),
    receiver: {
      isRemote: false,
      over: false,
      inbox: new Inbox(),
      delivered: new PassingMap(),
      breaker: new Breaker(),
      cancelDelivery: () => undefined,
    },
    nowMs: 0,
    expiresAtMs: 1_000,
    inReplyTo: "",
  });
  message.phase = "sent";
  return message;
}

describe("Outbox", () => {
  it("joins items of all kinds into one frame", () => {
    const outbox = new Outbox();
    outbox.pushAssignment(order("a"));
    outbox.pushCancel(order("c"));
    outbox.pushResult(new Uint8Array(3));
    outbox.pushDelivery(delivery("d"));
    outbox.pushOutcome({ messageId: "m", outcome: "delivered", text: "" });
    outbox.setDrain({ reason: "stop", reconnectWithinMs: 5 });
    expect(outbox.items).toBe(6);
    expect(outbox.take()).toMatchObject({
      assignments: [{ taskId: "a" }],
      cancels: [{ taskId: "c" }],
      results: [new Uint8Array(3)],
      deliveries: [{ deliveryId: "d" }],
      outcomes: [{ messageId: "m" }],
      drain: { reason: "stop" },
    });
    expect(outbox.take()).toBeUndefined();
  });

  it("puts at most 256 of a kind and about a MiB into a frame, but always one item", () => {
    const outbox = new Outbox();
    for (let i = 0; i < 300; i += 1) outbox.pushResult(new Uint8Array(1));
    expect([outbox.take()?.results.length, outbox.take()?.results.length]).toEqual([256, 44]);
    outbox.pushAssignment(order("huge", FRAME_BYTES_MAX * 2));
    outbox.pushAssignment(order("a", FRAME_BYTES_MAX / 2));
    outbox.pushAssignment(order("b", FRAME_BYTES_MAX / 2));
    outbox.pushDelivery(delivery("d", FRAME_BYTES_MAX));
    const frames = [outbox.take(), outbox.take(), outbox.take(), outbox.take(), outbox.take()];
    expect(frames.map((frame) => frame?.assignments.map(({ taskId }) => taskId))).toEqual([
      ["huge"],
      ["a"],
      ["b"],
      [],
      undefined,
    ]);
    expect(frames[3]?.deliveries).toHaveLength(1);
  });

  it("takes an assignment out again when its cancel comes first", () => {
    const outbox = new Outbox();
    outbox.pushAssignment(order("a", 10, 1n));
    outbox.pushAssignment(order("a", 10, 2n));
    outbox.pushCancel(order("a", 5, 1n));
    const frame = outbox.take();
    expect(frame?.assignments.map(({ fence }) => fence)).toEqual([2n]);
    expect(frame?.cancels).toEqual([]);
  });

  it("refuses what does not fit and never drops", () => {
    const outbox = new Outbox();
    for (let i = 0; i < OUTBOX_ITEMS_MAX; i += 1) outbox.pushResult(new Uint8Array(1));
    expect(outbox.pushResult(new Uint8Array(1))).toBe(false);
    expect(outbox.pushAssignment(order("a"))).toBe(false);
    expect(outbox.pushDelivery(delivery("d"))).toBe(false);
    expect(outbox.deliveryBytes).toBe(0);
    let taken = 0;
    for (let frame = outbox.take(); frame !== undefined; frame = outbox.take()) {
      taken += frame.results.length;
    }
    expect(taken).toBe(OUTBOX_ITEMS_MAX);
  });

  it("bounds the bytes of assignments, not of a single one", () => {
    const outbox = new Outbox();
    const MiB = 1_048_576;
    expect(outbox.pushAssignment(order("huge", 17 * MiB))).toBe(true);
    expect(outbox.pushAssignment(order("more", 1))).toBe(false);
    outbox.take();
    expect(outbox.pushAssignment(order("more", 1))).toBe(true);
  });

  it("leaves out deliveries that were settled while they waited", () => {
    const outbox = new Outbox();
    const late = delivery("late");
    outbox.pushDelivery(late);
    outbox.pushDelivery(delivery("good"));
    late.phase = "over";
    expect(outbox.take()?.deliveries.map(({ deliveryId }) => deliveryId)).toEqual(["good"]);
    expect(outbox.deliveryBytes).toBe(0);
  });

  it("copies small orders out of large frames only once they have to wait", () => {
    const outbox = new Outbox();
    const frame = new Uint8Array(100_000);
    const first = { taskId: "t", fence: 1n, bytes: frame.subarray(0, 10) };
    outbox.pushAssignment(first);
    expect(first.bytes.buffer.byteLength).toBe(100_000);
    for (let i = 0; i < 256; i += 1) outbox.pushAssignment(order(`t${i}`));
    const last = { taskId: "last", fence: 1n, bytes: frame.subarray(0, 10) };
    outbox.pushAssignment(last);
    expect(last.bytes.buffer.byteLength).toBe(10);
  });

  it("forgets everything on clear", () => {
    const outbox = new Outbox();
    outbox.pushAssignment(order("a"));
    outbox.pushCancel(order("c"));
    outbox.pushDelivery(delivery("d"));
    outbox.clear();
    expect(outbox.items).toBe(0);
    expect(outbox.take()).toBeUndefined();
  });
});
