import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { AckKind, DeliveryOutcome, SendOutcomeSchema } from "@nexus/proto/mesh";
import { createSilentLogger } from "@nexus/shared";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Frame, Outbox } from "./outbox.ts";
import { NO_HANDLER, REPLIES_KEPT_MAX, Replies } from "./replies.ts";

const { DELIVERED, OVERLOADED, REFUSED, EXPIRED } = DeliveryOutcome;
const FULL = { outcome: OVERLOADED, retryAfter: durationFromMs(100) };
const PENDING = { outcome: REFUSED, reason: "MESSAGE_ID_PENDING" };
const LATE = { outcome: REFUSED, reason: "NOT_AWAITED" };

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

function scene() {
  const outbox = new Outbox();
  const warnings: unknown[] = [];
  const logger = createSilentLogger();
  logger.warn = (fields: unknown) => void warnings.push(fields);
  const replies = new Replies(outbox, logger);
  replies.connected(false);
  /** What goes out now. */
  const write = async (): Promise<Frame> => {
    const stream = outbox.frames({});
    outbox.close();
    const all: Frame = { sends: [], acks: [] };
    for await (const frame of stream) {
      all.sends?.push(...(frame.sends ?? []));
      all.acks?.push(...(frame.acks ?? []));
    }
    return all;
  };
  const written = async (): Promise<string[]> =>
    ((await write()).sends ?? []).map(({ messageId = "" }) => messageId);
  const asked = (deliveryId = "d") => ({ deliveryId, deadlineAtMs: Date.now() + 10_000 });
  const answer = async (body: unknown = 1): Promise<string> => {
    await replies.answer(asked(), body, new AbortController().signal);
    const [messageId = ""] = await written();
    return messageId;
  };
  const say = (messageId: string, init: MessageInitShape<typeof SendOutcomeSchema>): void =>
    replies.settle(create(SendOutcomeSchema, { ...init, messageId }));
  const breakAndMend = (): void => {
    outbox.reset();
    replies.connectionLost(false);
    replies.connected(false);
  };
  return { outbox, replies, warnings, write, written, asked, answer, say, breakAndMend };
}

describe("a whole reply", () => {
  it("is sent again while there is no room for it, in its request's time", async () => {
    const { answer, say, written, warnings } = scene();
    const messageId = await answer();
    say(messageId, FULL);
    vi.advanceTimersByTime(99);
    expect(await written()).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(await written()).toEqual([messageId]);
    vi.setSystemTime(Date.now() + 9_850);
    say(messageId, FULL);
    vi.advanceTimersByTime(1_000);
    expect(await written()).toEqual([]);
    expect(warnings).toHaveLength(1);
  });

  it("is sent again by the next stream, which says when the earlier one brought it", async () => {
    const { answer, say, written, warnings, breakAndMend } = scene();
    const messageId = await answer();
    breakAndMend();
    expect(await written()).toEqual([messageId]);
    say(messageId, PENDING);
    breakAndMend();
    expect(await written()).toEqual([messageId]);
    say(messageId, LATE);
    breakAndMend();
    expect(await written()).toEqual([]);
    expect(warnings).toEqual([]);
  });

  it("that was made without a stream waits for one, and for none beyond its time", async () => {
    const { replies, written, asked } = scene();
    replies.connectionLost(false);
    await replies.answer(asked("early"), 1, new AbortController().signal);
    vi.setSystemTime(Date.now() + 5_000);
    await replies.answer(asked("late"), 2, new AbortController().signal);
    expect(await written()).toEqual([]);
    vi.setSystemTime(Date.now() + 5_000);
    replies.connected(false);
    expect(await written()).toHaveLength(1);
  });

  it("is done with when it is delivered, or nobody waits", async () => {
    const { answer, say, written, warnings, breakAndMend } = scene();
    say(await answer(), { outcome: DELIVERED });
    say(await answer(), { outcome: EXPIRED });
    say(await answer(), LATE);
    breakAndMend();
    expect(await written()).toEqual([]);
    expect(warnings).toHaveLength(1);
  });

  it("beyond what is kept goes once", async () => {
    const { replies, asked, written, breakAndMend } = scene();
    const { signal } = new AbortController();
    for (let i = 0; i <= REPLIES_KEPT_MAX; i += 1) await replies.answer(asked(), i, signal);
    expect(await written()).toHaveLength(REPLIES_KEPT_MAX + 1);
    breakAndMend();
    expect(await written()).toHaveLength(REPLIES_KEPT_MAX);
    vi.setSystemTime(Date.now() + 10_000);
    await replies.answer(asked(), "next", signal);
    await written();
    breakAndMend();
    expect(await written()).toHaveLength(1);
  });
});

describe("whoever gets no reply", () => {
  const no = (reason: string) => ({
    deliveryId: "d",
    kind: AckKind.REJECT,
    reason,
    message: "",
  });

  it("is told so, by the next stream too, since the word may be lost with this one", async () => {
    const { replies, asked, write, breakAndMend } = scene();
    replies.decline(asked(), NO_HANDLER);
    expect((await write()).acks).toEqual([no("NO_HANDLER")]);
    breakAndMend();
    expect((await write()).acks).toEqual([no("NO_HANDLER")]);
    vi.setSystemTime(Date.now() + 10_000);
    breakAndMend();
    expect((await write()).acks).toEqual([]);
  });

  it("is told of a reply in parts whose stream broke", async () => {
    const { outbox, replies, asked, write } = scene();
    async function* endless() {
      for (;;) yield 1;
    }
    const over = replies.answer(asked(), endless(), new AbortController().signal);
    await new Promise(setImmediate);
    expect((await write()).sends).toHaveLength(256);
    outbox.reset();
    replies.connectionLost(false);
    await over;
    replies.connected(false);
    expect(await write()).toMatchObject({
      acks: [no("REPLY_CUT")],
      sends: [],
    });
  });
});
