import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  DispatchRequestSchema,
  DispatchResponseSchema,
  SessionState,
  TaskUpdateOutcome,
} from "@nexus/proto/mesh";
import { WireError, WireWriter } from "@nexus/rpc";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Assignment, SessionRef } from "../../domain/ports.ts";
import { writeAssignment, writeCancel, writeDemand, writeResult } from "./dispatch-request.ts";
import { readRouterFrame } from "./dispatch-response.ts";

const RUNS = { numRuns: 300 };
const int64s = fc.oneof(
  fc.constantFrom(1n, 127n, 128n, 2n ** 49n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n),
  fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
);
const texts = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.constant("a".repeat(200)),
);
/** As the contract has them. A message keeps a map as an object, which has no place for `__proto__`. */
const taskKeys = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}$/);
const payloads = fc.record({
  contentType: texts,
  data: fc.uint8Array({ maxLength: 300 }),
});
const sessions: fc.Arbitrary<SessionRef> = fc.record({
  namespace: texts,
  agentId: texts,
  epoch: int64s,
});
const assignments: fc.Arbitrary<Assignment> = fc.record({
  taskId: texts,
  jobId: texts,
  taskKey: texts,
  fence: int64s,
  attempt: fc.nat(),
  capability: texts,
  capabilityVersion: texts,
  input: fc.option(payloads, { nil: undefined }),
  upstream: fc
    .array(fc.tuple(taskKeys, payloads), { maxLength: 3 })
    .map((entries) => new Map(entries)),
  timeoutMs: fc.integer({ min: 1, max: 86_400_000 }),
  slotCost: fc.integer({ min: 1, max: 1_000 }),
  traceparent: texts,
});

function written(write: (writer: WireWriter) => void) {
  const writer = new WireWriter();
  write(writer);
  return fromBinary(DispatchRequestSchema, Uint8Array.from(writer.take()));
}

describe("items of DispatchRequest", () => {
  it("read back by the contract's parser as what they say: assignments", () => {
    fc.assert(
      fc.property(sessions, assignments, (session, assignment) => {
        const frame = written((writer) => writeAssignment(writer, session, assignment));
        const [item] = frame.assignments;
        const { upstream, timeoutMs, input, ...rest } = assignment;
        expect(item?.session).toMatchObject(session);
        expect(item?.assignment).toMatchObject(rest);
        expect(item?.assignment?.timeout && durationMs(item.assignment.timeout)).toBe(timeoutMs);
        if (input === undefined) expect(item?.assignment?.input).toBeUndefined();
        else expect(item?.assignment?.input).toMatchObject(input);
        expect(item?.assignment?.upstream).toMatchObject(Object.fromEntries(upstream));
      }),
      RUNS,
    );
  });

  it("read back by the contract's parser as what they say: the others, in one frame", () => {
    fc.assert(
      fc.property(sessions, texts, int64s, fc.boolean(), (session, taskId, fence, wanted) => {
        const frame = written((writer) => {
          writeResult(writer, session, { taskId, fence, outcome: "STALE" });
          writeCancel(writer, session, { taskId, fence, reason: "LEASE_LOST" });
          writeDemand(writer, session, { wanted, held: 7 });
          writeResult(writer, session, { taskId, fence, outcome: "COMMITTED" });
        });
        const outcomes = [TaskUpdateOutcome.STALE, TaskUpdateOutcome.COMMITTED];
        expect(frame.updateResults).toMatchObject(
          outcomes.map((outcome) => ({ session, result: { taskId, fence, outcome } })),
        );
        expect(frame.cancels).toMatchObject([
          { session, cancel: { taskId, fence, reason: "LEASE_LOST" } },
        ]);
        expect(frame.demands).toMatchObject([{ session, wanted, held: 7 }]);
      }),
      RUNS,
    );
  });
});

function encoded(init: MessageInitShape<typeof DispatchResponseSchema>): Buffer {
  return Buffer.from(toBinary(DispatchResponseSchema, create(DispatchResponseSchema, init)));
}

const session = { namespace: "default", agentId: "ann", epoch: 2n ** 60n };
const other = { namespace: "default", agentId: "bob", epoch: 1n };

describe("readRouterFrame", () => {
  it("reads every kind of update, and whose it is", () => {
    const output = { contentType: "text/plain", data: new Uint8Array([1, 2]) };
    const updates = [
      { case: "accepted", value: {} },
      { case: "progress", value: { progress: 0.5, message: "hälf" } },
      { case: "chunk", value: { sequence: 3n, data: new Uint8Array([9]) } },
      { case: "completed", value: { output } },
      { case: "failed", value: { reason: "", message: "no", retryable: true } },
      { case: "released", value: { message: "later" } },
    ] as const;
    const frame = readRouterFrame(
      encoded({
        updates: updates.map((update, index) => ({
          session: index % 2 === 0 ? session : other,
          update: { taskId: `t${index}`, fence: 2n ** 62n, update },
        })),
      }),
      "router:1",
    );
    expect(frame.updates.map(({ saying }) => saying)).toMatchObject([
      { kind: "ACCEPTED" },
      { kind: "PROGRESS", progress: 0.5, message: "hälf" },
      { kind: "CHUNK", sequence: 3n },
      { kind: "COMPLETED", output: { contentType: "text/plain" } },
      { kind: "FAILED", reason: "AGENT_ERROR", message: "no", retryable: true },
      { kind: "RELEASED", message: "later" },
    ]);
    expect(frame.updates[3]?.saying).toHaveProperty("output.data", Buffer.from([1, 2]));
    for (const [index, update] of frame.updates.entries()) {
      const from = index % 2 === 0 ? session : other;
      expect(update).toMatchObject({ router: "router:1", session: from, fence: 2n ** 62n });
      expect(update.taskId).toBe(`t${index}`);
    }
  });

  it("holds no frame for a small output or chunk, and copies no large one", () => {
    const said = (value: number, length: number, taskId: string) => {
      const data = new Uint8Array(length).fill(value);
      return [
        { taskId, fence: 1n, update: { case: "chunk" as const, value: { sequence: 1n, data } } },
        {
          taskId,
          fence: 1n,
          update: { case: "completed" as const, value: { output: { contentType: "t", data } } },
        },
      ];
    };
    const updates = [...said(1, 100, "small"), ...said(2, 300_000, "large")];
    const bytes = encoded({ updates: updates.map((update) => ({ session, update })) });
    const sayings = readRouterFrame(bytes, "r").updates.map(({ saying }) => saying);
    const held = sayings.map((saying) => {
      if (saying.kind === "CHUNK") return saying.data;
      return saying.kind === "COMPLETED" ? saying.output.data : new Uint8Array();
    });
    expect(held.map((data) => [data[0], data.byteLength])).toEqual([
      [1, 100],
      [1, 100],
      [2, 300_000],
      [2, 300_000],
    ]);
    const [chunk, output, ...large] = held;
    expect([chunk?.buffer.byteLength, output?.buffer.byteLength]).toEqual([100, 100]);
    expect(large.every((data) => data.buffer === bytes.buffer)).toBe(true);
  });

  it("reads sessions, refusals and the end of the snapshot", () => {
    const frame = readRouterFrame(
      encoded({
        routerId: "r1",
        snapshotComplete: true,
        sessions: [{ session, state: SessionState.DRAINING, slots: 4 }],
        refusals: [{ session: other, taskId: "t", fence: 5n, reason: "NO_SLOT" }],
      }),
      "router:1",
    );
    expect(frame).toMatchObject({
      snapshotComplete: true,
      reports: [{ session, state: "DRAINING", slots: 4 }],
      refusals: [{ session: other, taskId: "t", fence: 5n, reason: "NO_SLOT" }],
      updates: [],
    });
  });

  it("leaves out updates without an origin or with nothing said, and unknown fields", () => {
    const bytes = encoded({
      updates: [
        { update: { taskId: "t", fence: 1n, update: { case: "accepted", value: {} } } },
        { session, update: { taskId: "t", fence: 1n } },
      ],
    });
    const added = Buffer.from([0x78, 1, 0x7a, 1, 65]);
    expect(readRouterFrame(Buffer.concat([added, bytes, added]), "r").updates).toEqual([]);
  });

  it("refuses bytes that are cut off or of the wrong type", () => {
    const update = { case: "released" as const, value: { message: "later" } };
    const bytes = encoded({ updates: [{ session, update: { taskId: "t", fence: 1n, update } }] });
    for (let length = 1; length < bytes.length; length += 1) {
      expect(() => readRouterFrame(bytes.subarray(0, length), "r")).toThrow(WireError);
    }
    expect(() => readRouterFrame(Buffer.from([0x20, 1]), "r")).toThrow(WireError);
  });
});
