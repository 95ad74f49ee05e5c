import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { createValidator } from "@bufbuild/protovalidate";
import { PayloadSchema } from "@nexus/proto/common";
import { type ConnectRequest, ConnectRequestSchema, TaskUpdateSchema } from "@nexus/proto/mesh";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readAgentFrame } from "./agent-frame.ts";

type Init = MessageInitShape<typeof ConnectRequestSchema>;

const STATE_CALLS: (NonNullable<NonNullable<Init["stateOps"]>[number]["call"]> | undefined)[] = [
  undefined,
  { case: "get", value: { bucket: "b", keys: ["k"] } },
  {
    case: "write",
    value: {
      requestId: "r",
      bucket: "b",
      writes: [{ key: "k", operation: { case: "delete", value: {} } }],
    },
  },
];

const validator = createValidator();
const RUNS = { numRuns: 400 };
const nowMs = () => 1_000;

function accepts(bytes: Buffer): boolean {
  try {
    readAgentFrame(bytes, nowMs);
    return true;
  } catch {
    return false;
  }
}

function contractAccepts(frame: ConnectRequest): boolean {
  return validator.validate(ConnectRequestSchema, frame).kind === "valid";
}

function encode(init: Init): { frame: ConnectRequest; bytes: Buffer } {
  const frame = create(ConnectRequestSchema, init);
  return { frame, bytes: Buffer.from(toBinary(ConnectRequestSchema, frame)) };
}

/** Plain bytes, which compare equal to what a test wrote; a Buffer does not. */
function copy(bytes: Uint8Array | undefined): Uint8Array {
  return Uint8Array.from(bytes ?? []);
}

/** Texts around a limit, in one-, two- and four-byte characters. */
function texts(max: number): fc.Arbitrary<string> {
  const sizes = fc.constantFrom(0, 1, 2, max - 1, max, max + 1);
  return fc
    .tuple(fc.constantFrom("a", "ü", "😀"), sizes)
    .map(([character, size]) => character.repeat(size));
}

const payloads = fc.option(
  fc.record({
    contentType: texts(128),
    data: fc.constantFrom(0, 1, 262_144, 262_145).map((size) => new Uint8Array(size)),
  }),
  { nil: undefined },
);
const fences = fc.constantFrom(-1n, 0n, 1n, 2n ** 40n, 2n ** 63n - 1n);
const ints = (...around: number[]) => fc.constantFrom(-1, 0, 1, ...around);
const reasons = fc.constantFrom(
  "",
  "AGENT_ERROR",
  "lower",
  "_X",
  "A".repeat(128),
  "A".repeat(129),
  "A\n",
);
const timeouts = fc.option(
  fc.constantFrom(
    { seconds: 0n, nanos: 0 },
    { seconds: 0n, nanos: 999_999 },
    { seconds: 0n, nanos: 1_000_000 },
    { seconds: 30n, nanos: 5 },
    { seconds: 600n, nanos: 0 },
    { seconds: 600n, nanos: 1 },
    { seconds: -1n, nanos: 0 },
  ),
  { nil: undefined },
);
const lifetimes = fc.option(
  fc.constantFrom(
    { seconds: 0n, nanos: 999_999_999 },
    { seconds: 1n, nanos: 0 },
    { seconds: 604_800n, nanos: 0 },
    { seconds: 604_800n, nanos: 1 },
  ),
  { nil: undefined },
);

const topics = fc.constantFrom(
  "",
  "a",
  "a.b_c.D-9",
  "a..b",
  ".a",
  "a.",
  "a.*",
  "a.>",
  "ü",
  "a\n",
  `${"a.".repeat(15)}a`,
  `${"a.".repeat(16)}a`,
  "a".repeat(256),
  "a".repeat(257),
);
const patterns = fc.oneof(
  topics,
  fc.constantFrom("*", ">", "*.*", "a.*.>", ">.a", "a.>.b", "a*", "*a", `${"a.".repeat(15)}>`),
);
const chains = fc.option(
  fc
    .record({
      hops: ints(64, 65),
      ancestors: fc.oneof(
        fc.array(texts(128), { maxLength: 2 }),
        fc.constantFrom(64, 65).map((count) => Array.from({ length: count }, () => "a")),
      ),
      left: fc.option(
        fc.constantFrom(
          { seconds: 0n, nanos: 0 },
          { seconds: 604_800n, nanos: 0 },
          { seconds: 604_800n, nanos: 1 },
          { seconds: -1n, nanos: 0 },
        ),
        { nil: undefined },
      ),
    })
    .map(({ left, ...rest }) => ({ ...rest, ...(left && { left }) })),
  { nil: undefined },
);

const updates = fc.record({
  taskId: texts(64),
  fence: fences,
  update: fc.oneof(
    fc.constant({ case: undefined, value: undefined }),
    fc.constant({ case: "accepted" as const, value: {} }),
    fc
      .record({
        progress: fc.constantFrom(-0.1, 0, 0.5, 1, 1.1, Number.NaN, Number.POSITIVE_INFINITY),
        message: texts(1_024),
      })
      .map((value) => ({ case: "progress" as const, value })),
    fc
      .record({
        sequence: fences,
        data: fc.constantFrom(0, 65_536, 65_537).map((size) => new Uint8Array(size)),
      })
      .map((value) => ({ case: "chunk" as const, value })),
    payloads.map((output) => ({
      case: "completed" as const,
      value: { ...(output && { output }) },
    })),
    fc
      .record({ reason: reasons, message: texts(4_096), retryable: fc.boolean() })
      .map((value) => ({ case: "failed" as const, value })),
    fc.record({ message: texts(1_024) }).map((value) => ({ case: "released" as const, value })),
  ),
});

const sends = fc
  .record({
    messageId: texts(64),
    toAgentId: texts(128),
    payload: payloads,
    subject: texts(128),
    expectsReply: fc.boolean(),
    inReplyTo: texts(64),
    timeout: timeouts,
    traceparent: texts(64),
    deliveryClass: ints(2, 3),
    ttl: lifetimes,
    ackWait: timeouts,
    toCapability: texts(128),
    toTopic: topics,
    broadcast: fc.boolean(),
    chain: chains,
    lease: fc.option(fc.record({ taskId: texts(64), fence: fences }), { nil: undefined }),
    gather: fc.option(fc.record({ mode: ints(3, 4), quorum: ints(1_000, 1_001) }), {
      nil: undefined,
    }),
    more: fc.boolean(),
  })
  .map(({ payload, timeout, ttl, ackWait, chain, lease, gather, ...rest }) => ({
    ...rest,
    ...(payload && { payload }),
    ...(timeout && { timeout }),
    ...(ttl && { ttl }),
    ...(ackWait && { ackWait }),
    ...(chain && { chain }),
    ...(lease && { lease }),
    ...(gather && { gather }),
  }));

const singles = fc.oneof(
  fc
    .record({
      agentId: texts(128),
      slots: ints(1_000, 1_001),
      messageCredit: ints(10_000, 10_001),
      resumeToken: texts(256),
      sdk: fc.record({ name: texts(64), version: texts(64), runtime: texts(64) }),
    })
    .map((hello) => ({ hello })),
  fc.record({ busySlots: ints(1_000, 1_001) }).map((heartbeat) => ({ heartbeat })),
  fc
    .record({ slots: ints(1_000, 1_001), messages: ints(10_000, 10_001) })
    .map((credit) => ({ credit })),
  texts(4_096).map((accessToken) => ({ reauth: { accessToken } })),
  texts(1_024).map((reason) => ({ goodbye: { reason } })),
);

describe("readAgentFrame against the contract's rules", () => {
  const check = (name: string, inits: fc.Arbitrary<Init>) =>
    it(`accepts exactly what the contract accepts: ${name}`, () => {
      fc.assert(
        fc.property(inits, (init) => {
          const { frame, bytes } = encode(init);
          expect(accepts(bytes)).toBe(contractAccepts(frame));
        }),
        RUNS,
      );
    });

  check(
    "task updates",
    updates.map((update) => ({ taskUpdates: [update] })),
  );
  check(
    "messages",
    sends.map((send) => ({ sends: [send] })),
  );
  check(
    "acks",
    fc
      .record({ deliveryId: texts(64), kind: ints(4, 5), message: texts(512), reason: texts(128) })
      .map((ack) => ({ acks: [ack] })),
  );
  check(
    "subscriptions",
    fc
      .record({ pattern: patterns, group: texts(128), durable: fc.boolean() })
      .chain((one) => fc.constantFrom({ subscribes: [one] }, { unsubscribes: [one] })),
  );
  check(
    "cancels",
    texts(64).map((messageId) => ({ sendCancels: [messageId] })),
  );
  check(
    "state operations",
    fc
      .record({
        number: fc.constantFrom(0, 1, 2 ** 32 - 1),
        timeout: fc.constantFrom(undefined, ...[0, 1, 60_000, 60_001].map(durationFromMs)),
        traceparent: texts(64),
        call: fc.constantFrom(...STATE_CALLS),
      })
      .map(({ timeout, call, ...rest }) => ({
        stateOps: [{ ...rest, ...(timeout && { timeout }), ...(call && { call }) }],
      })),
  );
  check(
    "cancelled state operations",
    fc
      .array(fc.constantFrom(0, 1, 2 ** 32 - 1), { maxLength: 3 })
      .map((stateCancels) => ({ stateCancels })),
  );
  check("single messages", singles);

  it.each([
    "taskUpdates",
    "sends",
    "acks",
    "subscribes",
    "unsubscribes",
    "sendCancels",
    "stateOps",
    "stateCancels",
  ] as const)("takes 512 %s and refuses 513", (list) => {
    const item = {
      taskUpdates: { taskId: "t", fence: 1n, update: { case: "accepted", value: {} } },
      sends: { messageId: "m" },
      acks: { deliveryId: "d" },
      subscribes: { pattern: "a" },
      unsubscribes: { pattern: "a" },
      sendCancels: "m",
      stateOps: { number: 1, call: { case: "get", value: { bucket: "b", keys: ["k"] } } },
      stateCancels: 7,
    }[list];
    const many = (count: number) =>
      encode({ [list]: Array.from({ length: count }, () => item) }).bytes;
    expect(accepts(many(512))).toBe(true);
    expect(accepts(many(513))).toBe(false);
  });
});

describe("readAgentFrame", () => {
  it("reads what the frame says and carries updates byte for byte", () => {
    const output = { contentType: "text/plain", data: new Uint8Array([1, 2, 3]) };
    const update = { case: "completed" as const, value: { output } };
    const { bytes } = encode({
      taskUpdates: [{ taskId: "task_1", fence: 2n ** 60n, update }],
      acks: [{ deliveryId: "d1" }],
      credit: { slots: 0, messages: 7 },
    });
    const frame = readAgentFrame(bytes, nowMs);
    expect(frame.acks).toEqual([{ deliveryId: "d1", kind: "done", text: "" }]);
    expect(frame.credit).toMatchObject({ slots: 0, messages: 7 });
    expect(frame.updates).toMatchObject([
      { taskId: "task_1", fence: 2n ** 60n, kind: "completed" },
    ]);
    const carried = fromBinary(TaskUpdateSchema, copy(frame.updates[0]?.bytes));
    expect(carried).toMatchObject({ taskId: "task_1", update: { value: { output } } });
  });

  it("reads a message to send", () => {
    const payload = { contentType: "text/plain", data: new Uint8Array([9]) };
    const { bytes } = encode({
      sends: [
        {
          messageId: "möglich",
          toAgentId: "bob",
          payload,
          subject: "s",
          expectsReply: true,
          inReplyTo: "r",
          timeout: durationFromMs(1_500),
          traceparent: "00-x",
        },
      ],
    });
    const [letter] = readAgentFrame(bytes, nowMs).sends;
    expect(letter).toMatchObject({
      messageId: "möglich",
      toAgentId: "bob",
      expectsReply: true,
      inReplyTo: "r",
      timeoutMs: durationMs(durationFromMs(1_500)),
    });
    expect(fromBinary(PayloadSchema, copy(letter?.payload))).toMatchObject(payload);
    expect(Buffer.from(letter?.subject ?? []).toString()).toBe("s");
  });

  it("skips fields that a newer contract may add", () => {
    const { bytes } = encode({ acks: [{ deliveryId: "d1" }] });
    // Field 15: a varint, eight bytes, text, four bytes.
    const added = Buffer.from([
      0x78, 1, 0x79, 1, 2, 3, 4, 5, 6, 7, 8, 0x7a, 1, 65, 0x7d, 1, 2, 3, 4,
    ]);
    expect(readAgentFrame(Buffer.concat([added, bytes, added]), nowMs).acks).toEqual([
      { deliveryId: "d1", kind: "done", text: "" },
    ]);
  });

  it("refuses text that is not UTF-8", () => {
    const { bytes } = encode({ acks: [{ deliveryId: "ab" }] });
    bytes[bytes.length - 1] = 0xff;
    expect(() => readAgentFrame(bytes, nowMs)).toThrow("UTF-8");
  });

  it("never accepts damaged bytes that the contract's own parser refuses", () => {
    const frames = fc.record({
      taskUpdates: fc.array(updates, { maxLength: 3 }),
      sends: fc.array(sends, { maxLength: 3 }),
    });
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(frames, damage, fc.nat(), (init, changes, cut) => {
        const { bytes } = encode(init);
        if (bytes.length === 0 || bytes.length > 10_000) return;
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        const damaged = bytes.subarray(0, bytes.length - (cut % 3));
        if (!accepts(damaged)) return;
        for (const update of readAgentFrame(damaged, nowMs).updates) {
          const parsed = fromBinary(TaskUpdateSchema, update.bytes);
          expect(validator.validate(TaskUpdateSchema, parsed).kind).toBe("valid");
          expect(parsed).toMatchObject({ taskId: update.taskId, fence: update.fence });
          expect(parsed.update.case).toBe(update.kind);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
