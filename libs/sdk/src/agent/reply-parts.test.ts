import { create } from "@bufbuild/protobuf";
import { DeliveryOutcome, SendOutcomeSchema } from "@nexus/proto/mesh";
import { createIds } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { type Frame, Outbox } from "./outbox.ts";
import { ReplyParts } from "./reply-parts.ts";

const WINDOW = 256;

type Sent = NonNullable<Frame["sends"]>[number];

function scene() {
  const outbox = new Outbox();
  const parts = new ReplyParts(outbox, createIds());
  const abort = new AbortController();
  let yielded = 0;
  let left = false;
  async function* count() {
    try {
      for (;;) {
        yielded += 1;
        yield yielded;
      }
    } finally {
      left = true;
    }
  }
  const sending = parts.send("d", count(), abort.signal);
  const settled = () => new Promise(setImmediate);
  /** What waits to be written. */
  const write = async (): Promise<Sent[]> => {
    const sends: Sent[] = [];
    const stream = outbox.frames({});
    outbox.close();
    for await (const frame of stream) sends.push(...(frame.sends ?? []));
    return sends;
  };
  const say = (send: Sent | undefined, outcome: DeliveryOutcome): void =>
    parts.settle(create(SendOutcomeSchema, { messageId: send?.messageId ?? "", outcome }));
  return { parts, abort, sending, settled, write, say, yielded: () => yielded, left: () => left };
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
    parts.connectionLost();
  });

  it("ends with a part that was not taken, and says of none that it is the last", async () => {
    const { sending, settled, write, say, left } = scene();
    await settled();
    const sends = await write();
    expect(sends.every(({ more }) => more === true)).toBe(true);
    say(sends[0], DeliveryOutcome.OVERLOADED);
    await sending;
    expect(left()).toBe(true);
    expect(await write()).toEqual([]);
  });

  it("ends with the stream: which parts arrived nobody knows", async () => {
    const { parts, sending, settled, write, left } = scene();
    await settled();
    await write();
    parts.connectionLost();
    await sending;
    expect(left()).toBe(true);
    expect(await write()).toEqual([]);
  });

  it("is whole when there is one", async () => {
    const outbox = new Outbox();
    const parts = new ReplyParts(outbox, createIds());
    async function* one() {
      yield 1;
    }
    await parts.send("d", one(), new AbortController().signal);
    const stream = outbox.frames({});
    outbox.close();
    const sends: Sent[] = [];
    for await (const frame of stream) sends.push(...(frame.sends ?? []));
    expect(sends.map(({ inReplyTo, more }) => [inReplyTo, more])).toEqual([["d", undefined]]);
  });
});
