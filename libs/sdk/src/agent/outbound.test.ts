import { getEventListeners } from "node:events";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type Delivery,
  DeliveryOutcome,
  DeliverySchema,
  SendOutcomeSchema,
} from "@nexus/proto/mesh";
import { describe, expect, it } from "vitest";
import { toPayload } from "../payload.ts";
import { Outbound } from "./outbound.ts";
import { type Frame, Outbox } from "./outbox.ts";

const ORDER = {
  to: "b",
  subject: "count",
  body: 3,
  options: { messageId: "q" },
  cause: undefined,
} as const;

function part(number: number, more: boolean): Delivery {
  const init: MessageInitShape<typeof DeliverySchema> = {
    deliveryId: `d${number}`,
    inReplyTo: "q",
    fromPrincipalId: "b",
    payload: toPayload(`part ${number}`),
    part: number,
    more,
  };
  return create(DeliverySchema, init);
}

function scene() {
  const outbox = new Outbox();
  const outbound = new Outbound(outbox);
  outbound.connected({ held: false, continued: false });
  let taken = 0;
  const take = (delivery: Delivery) => {
    if (!outbound.takeReply(delivery, () => (taken += 1))) taken += 1;
  };
  /** What would go out now. */
  const frames = async (): Promise<Frame[]> => {
    const found: Frame[] = [];
    const stream = outbox.frames({});
    outbox.close();
    for await (const frame of stream) found.push(frame);
    return found;
  };
  return { outbound, take, frames, taken: () => taken };
}

describe("a request for one reply", () => {
  it("fails when the receiver answers in parts, and is taken back", async () => {
    const { outbound, take, frames, taken } = scene();
    const reply = outbound.request(ORDER);
    await frames();
    take(part(1, true));
    take(part(2, false));
    await expect(reply).rejects.toMatchObject({ kind: "precondition", reason: "REPLY_IN_PARTS" });
    expect(taken()).toBe(2);
    const cancels = (await frames()).flatMap(({ sendCancels }) => sendCancels ?? []);
    expect(cancels).toEqual(["q"]);
  });

  it("fails in the same way when the router says so", async () => {
    const { outbound } = scene();
    const reply = outbound.request(ORDER);
    const refused = { outcome: DeliveryOutcome.REFUSED, reason: "PARTS_NOT_TAKEN" };
    outbound.settle(create(SendOutcomeSchema, { messageId: "q", ...refused }));
    await expect(reply).rejects.toMatchObject({ reason: "REPLY_IN_PARTS" });
  });
});

describe("a request for a reply in parts", () => {
  async function readAll(parts: AsyncIterable<unknown>, read: unknown[]): Promise<unknown[]> {
    for await (const one of parts) read.push(one);
    return read;
  }

  it("yields each part once, in order, and takes a whole reply for one", async () => {
    const { outbound, take } = scene();
    const first = readAll(outbound.requestStream(ORDER), []);
    for (const one of [part(1, true), part(1, true), part(2, false)]) take(one);
    expect(await first).toEqual(["part 1", "part 2"]);
    const second = readAll(outbound.requestStream(ORDER), []);
    take(part(0, false));
    expect(await second).toEqual(["part 0"]);
  });

  it("fails once its session goes on where nothing is known of it", async () => {
    const { outbound, take } = scene();
    const reading = readAll(outbound.requestStream(ORDER), []);
    take(part(1, true));
    outbound.connectionLost(false);
    outbound.connected({ held: true, continued: true });
    take(part(2, true));
    outbound.connectionLost(true);
    outbound.connected({ held: false, continued: false });
    await expect(reading).rejects.toMatchObject({ kind: "unavailable", reason: "REPLY_CUT" });
  });

  it("fails where a part is missing, and is taken back", async () => {
    const { outbound, take, frames } = scene();
    const read: unknown[] = [];
    const reading = readAll(outbound.requestStream(ORDER), read);
    await frames();
    take(part(1, true));
    take(part(3, false));
    await expect(reading).rejects.toMatchObject({ kind: "unavailable", reason: "REPLY_CUT" });
    expect(read).toEqual(["part 1"]);
    const cancels = (await frames()).flatMap(({ sendCancels }) => sendCancels ?? []);
    expect(cancels).toEqual(["q"]);
  });
});

describe("a signal that many messages have", () => {
  it("is listened to once, and takes all of them back", async () => {
    const outbound = new Outbound(new Outbox());
    const controller = new AbortController();
    const { signal } = controller;
    const options = { ...ORDER.options, durable: true, signal };
    const sent = Array.from({ length: 20 }, (_, i) =>
      outbound.send({ ...ORDER, options: { ...options, messageId: `m${i}` } }),
    );
    const ends = Promise.allSettled(sent);
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    controller.abort();
    expect((await ends).every(({ status }) => status === "rejected")).toBe(true);
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
  });
});

describe("a durable message whose signal aborts", () => {
  function sending() {
    const outbox = new Outbox();
    const outbound = new Outbound(outbox);
    const abort = new AbortController();
    const send = () =>
      outbound.send({
        ...ORDER,
        options: { ...ORDER.options, durable: true, signal: abort.signal },
      });
    /** Writes what waits. */
    const write = async (): Promise<Frame[]> => {
      const found: Frame[] = [];
      const stream = outbox.frames({});
      outbox.close();
      for await (const frame of stream) found.push(frame);
      return found.slice(1);
    };
    return { outbox, outbound, abort, send, write };
  }
  const TAKEN_BACK = { kind: "cancelled", reason: "CANCELLED" };
  const TOO_LATE = { kind: "cancelled", reason: "CANCELLED_TOO_LATE" };

  it("is taken back while it waits for a stream, and never sent", async () => {
    const { outbound, abort, send, write } = sending();
    const sent = send();
    abort.abort();
    await expect(sent).rejects.toMatchObject(TAKEN_BACK);
    outbound.connected({ held: false, continued: false });
    expect(await write()).toEqual([]);
  });

  it("is taken back while it waits for its frame", async () => {
    const { outbound, abort, send, write } = sending();
    outbound.connected({ held: false, continued: false });
    const sent = send();
    abort.abort();
    await expect(sent).rejects.toMatchObject(TAKEN_BACK);
    expect(await write()).toEqual([]);
  });

  it("may be stored once it left, and its sender is told so", async () => {
    const { outbound, abort, send, write } = sending();
    outbound.connected({ held: false, continued: false });
    const sent = send();
    expect(await write()).toHaveLength(1);
    abort.abort();
    await expect(sent).rejects.toMatchObject(TOO_LATE);
    expect(await write()).toEqual([]);
  });

  it("may be stored by an earlier stream, and is not sent again", async () => {
    const { outbox, outbound, abort, send, write } = sending();
    outbound.connected({ held: false, continued: false });
    const sent = send();
    await write();
    outbox.reset();
    outbound.connectionLost(false);
    outbound.connected({ held: false, continued: false });
    abort.abort();
    await expect(sent).rejects.toMatchObject(TOO_LATE);
    expect(await write()).toEqual([]);
  });
});

describe("a durable message that is sent again", () => {
  const DURABLE = { ...ORDER, options: { ...ORDER.options, durable: true } } as const;
  const { QUEUED, REFUSED } = DeliveryOutcome;
  const refusal = { messageId: "q", outcome: REFUSED, reason: "MESSAGE_ID_PENDING" };

  it("waits on while the router has no outcome yet of what an earlier stream brought", async () => {
    const { outbound } = scene();
    const sent = outbound.send(DURABLE);
    outbound.connectionLost(false);
    outbound.connected({ held: false, continued: false });
    outbound.settle(create(SendOutcomeSchema, refusal));
    outbound.settle(create(SendOutcomeSchema, { messageId: "q", outcome: QUEUED, position: 1n }));
    expect(await sent).toMatchObject({ messageId: "q", position: 1 });
  });

  it("is refused for its id when no earlier stream had it", async () => {
    const { outbound } = scene();
    const sent = outbound.send(DURABLE);
    outbound.settle(create(SendOutcomeSchema, refusal));
    await expect(sent).rejects.toMatchObject({ kind: "invalid", reason: "MESSAGE_REFUSED" });
  });
});

describe("between two streams of which the first ended in order", () => {
  const { DELIVERED, REFUSED } = DeliveryOutcome;
  const pending = { messageId: "q", outcome: REFUSED, reason: "MESSAGE_ID_PENDING" };

  function turning() {
    const outbox = new Outbox();
    const outbound = new Outbound(outbox);
    const stream = outbox.frames({});
    /** Ids of the messages that leave now. */
    const leaving = async (): Promise<unknown[]> => {
      const { value } = (await stream.next()) as { value: Frame };
      return (value.sends ?? []).map(({ messageId }) => messageId);
    };
    return { outbound, stream, leaving };
  }

  it("what has no outcome waits for the next, and goes again under its id", async () => {
    const { outbound, leaving } = turning();
    await leaving();
    outbound.connected({ held: false, continued: false });
    const sent = outbound.send(ORDER);
    expect(await leaving()).toEqual(["q"]);
    outbound.connectionLost(true);
    const late = outbound.send({ ...ORDER, options: { messageId: "late" } });
    outbound.connected({ held: true, continued: true });
    expect(await leaving()).toEqual(["q", "late"]);
    outbound.settle(create(SendOutcomeSchema, pending));
    outbound.settle(create(SendOutcomeSchema, { messageId: "q", outcome: DELIVERED }));
    outbound.settle(create(SendOutcomeSchema, { messageId: "late", outcome: DELIVERED }));
    expect(await sent).toMatchObject({ messageId: "q" });
    expect(await late).toMatchObject({ messageId: "late" });
  });

  it("what left is lost when the router does not have it, and what did not leave goes", async () => {
    const { outbound, leaving } = turning();
    await leaving();
    outbound.connected({ held: false, continued: false });
    const sent = outbound.send(ORDER);
    await leaving();
    outbound.connectionLost(true);
    // A try that gets no welcome changes nothing.
    outbound.connectionLost(false);
    const late = outbound.send({ ...ORDER, options: { messageId: "late" } });
    outbound.connected({ held: false, continued: false });
    await expect(sent).rejects.toMatchObject({ kind: "unavailable", reason: "CONNECTION_LOST" });
    expect(await leaving()).toEqual(["late"]);
    outbound.settle(create(SendOutcomeSchema, { messageId: "late", outcome: DELIVERED }));
    expect(await late).toMatchObject({ messageId: "late" });
  });

  it("what left is lost when the stream did not end in order", async () => {
    const { outbound, leaving } = turning();
    await leaving();
    outbound.connected({ held: false, continued: false });
    const sent = outbound.send(ORDER);
    outbound.connectionLost(false);
    await expect(sent).rejects.toMatchObject({ reason: "CONNECTION_LOST" });
  });

  it("what is taken back is said to be on the next, after a try that got no welcome too", async () => {
    const { outbound, stream, leaving } = turning();
    await leaving();
    outbound.connected({ held: false, continued: false });
    const abort = new AbortController();
    const options = { ...ORDER.options, signal: abort.signal };
    const asked = outbound.request({ ...ORDER, options });
    await leaving();
    outbound.connectionLost(true);
    abort.abort();
    await expect(asked).rejects.toMatchObject({ kind: "cancelled" });
    outbound.connectionLost(false);
    outbound.connected({ held: true, continued: true });
    const { value } = (await stream.next()) as { value: Frame };
    expect(value).toMatchObject({ sendCancels: ["q"] });
  });
});
