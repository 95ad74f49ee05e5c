import { create } from "@bufbuild/protobuf";
import { DeliveryOutcome, SendOutcomeSchema } from "@nexus/proto/mesh";
import { createIds, KiB } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { type Frame, Outbox } from "./outbox.ts";
import { ReplyParts } from "./reply-parts.ts";

const WINDOW = 256;
const ASKED = { deliveryId: "d", deadlineAtMs: Number.POSITIVE_INFINITY };

type Sent = NonNullable<Frame["sends"]>[number];

async function* forever(body: unknown) {
  for (;;) yield body;
}

async function* failing() {
  yield 1;
  yield 2;
  throw new Error("no further");
}

function scene(bodies: AsyncIterable<unknown> = forever(1)) {
  const outbox = new Outbox();
  const told: string[] = [];
  const parts = new ReplyParts(outbox, createIds(), ({ deliveryId }) => told.push(deliveryId));
  parts.connected(false);
  const abort = new AbortController();
  let yielded = 0;
  let left = false;
  async function* counted() {
    try {
      for await (const body of bodies) {
        yielded += 1;
        yield body;
      }
    } finally {
      left = true;
    }
  }
  const sending = parts.send(ASKED, counted(), abort.signal);
  sending.catch(() => undefined);
  const settled = () => new Promise(setImmediate);
  /** What waits to be written. */
  const write = async (): Promise<Sent[]> => {
    const sends: Sent[] = [];
    const stream = outbox.frames({});
    outbox.close();
    for await (const frame of stream) sends.push(...(frame.sends ?? []));
    return sends;
  };
  const say = (send: Sent | undefined, outcome: DeliveryOutcome, reason = ""): void =>
    parts.settle(create(SendOutcomeSchema, { messageId: send?.messageId ?? "", outcome, reason }));
  const counts = { yielded: () => yielded, left: () => left };
  return { parts, abort, sending, settled, write, say, told, ...counts };
}

describe("a reply in parts", () => {
  it("goes on only as fast as its asker takes the parts", async () => {
    const { parts, settled, write, say, yielded } = scene();
    await settled();
    const first = await write();
    expect(first).toHaveLength(WINDOW);
    expect(yielded()).toBe(WINDOW + 1);
    for (const send of first.slice(0, 10)) say(send, DeliveryOutcome.DELIVERED);
    await settled();
    expect(await write()).toHaveLength(10);
    parts.connectionLost(false);
  });

  it("has few parts under way when they are large", async () => {
    const { parts, settled, write, say } = scene(forever(new Uint8Array(100 * KiB)));
    await settled();
    const first = await write();
    expect(first).toHaveLength(3);
    say(first[0], DeliveryOutcome.DELIVERED);
    await settled();
    expect(await write()).toHaveLength(1);
    parts.connectionLost(false);
  });

  it("ends with a part that was not taken, says of none that it is the last, and tells its asker", async () => {
    const { sending, settled, write, say, left, told } = scene();
    await settled();
    const sends = await write();
    expect(sends.every(({ more }) => more === true)).toBe(true);
    say(sends[0], DeliveryOutcome.OVERLOADED);
    expect(await sending).toBeUndefined();
    expect(left()).toBe(true);
    expect(await write()).toEqual([]);
    expect(told).toEqual(["d"]);
  });

  it("ends with the stream: which parts arrived nobody knows, and its asker is told once", async () => {
    const { parts, sending, settled, write, left, told } = scene();
    await settled();
    await write();
    parts.connectionLost(false);
    expect(await sending).toBeUndefined();
    expect(left()).toBe(true);
    expect(await write()).toEqual([]);
    expect(told).toEqual(["d"]);
  });

  it("goes on over a stream that ended in order: what has no outcome goes again under its id, then the rest", async () => {
    const { parts, settled, write, say, told } = scene();
    await settled();
    const first = await write();
    parts.connectionLost(true);
    // A try that gets no welcome changes nothing.
    parts.connectionLost(false);
    for (const send of first.slice(0, 6)) say(send, DeliveryOutcome.DELIVERED);
    await settled();
    expect(await write()).toEqual([]);
    parts.connected(true);
    const again = await write();
    expect(again.slice(0, WINDOW - 6)).toEqual(first.slice(6));
    expect(again).toHaveLength(WINDOW);
    say(again[0], DeliveryOutcome.REFUSED, "MESSAGE_ID_PENDING");
    say(again[0], DeliveryOutcome.DELIVERED);
    expect(told).toEqual([]);
    parts.close();
  });

  it("ends when the next stream is of a router that has nothing of it", async () => {
    const { parts, sending, settled, write, told } = scene();
    await settled();
    await write();
    parts.connectionLost(true);
    expect(told).toEqual([]);
    parts.connected(false);
    expect(await sending).toBeUndefined();
    expect(told).toEqual(["d"]);
    expect(await write()).toEqual([]);
  });

  it("ends at once when nobody waits any more, however many parts are under way", async () => {
    const { abort, sending, settled, left, told } = scene();
    await settled();
    abort.abort();
    expect(await sending).toBeUndefined();
    expect(left()).toBe(true);
    expect(told).toEqual([]);
  });

  it("returns the last one, which is all of it when there is one", async () => {
    async function* one() {
      yield 1;
    }
    const { sending, write } = scene(one());
    expect(await sending).toEqual({ body: 1 });
    expect(await write()).toEqual([]);
  });

  it("fails with its handler once the parts before are taken", async () => {
    const { sending, settled, write, say } = scene(failing());
    await settled();
    const sends = await write();
    expect(sends.map(({ more }) => more)).toEqual([true, true]);
    let isOver = false;
    void sending.catch(() => {
      isOver = true;
    });
    say(sends[0], DeliveryOutcome.DELIVERED);
    await settled();
    expect(isOver).toBe(false);
    say(sends[1], DeliveryOutcome.DELIVERED);
    await expect(sending).rejects.toThrow("no further");
  });
});
