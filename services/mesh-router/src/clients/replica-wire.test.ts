import { describe, expect, it } from "vitest";
import type { Letter } from "../domain/message/letter.ts";
import { OUTCOMES } from "../domain/message/letter.ts";
import type { RelayedItem } from "../domain/remote/remote-ports.ts";
import { decodeItem, encodeItem } from "./replica-wire.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const HERE_MS = 1_000;
/** The other replica's clock. */
const THERE_MS = 50_000;

const letter: Letter = {
  messageId: "m1",
  toAgentId: "",
  payload: bytes("payload"),
  subject: bytes("subject"),
  traceparent: bytes("00-trace"),
  expectsReply: true,
  inReplyTo: "",
  timeoutMs: 1_500,
  target: { kind: "topic", name: "a.b" },
  chain: { hops: 2, ancestors: ["x", "y"], deadlineAtMs: HERE_MS + 700 },
};
const there: Letter = {
  ...letter,
  chain: { hops: 2, ancestors: ["x", "y"], deadlineAtMs: THERE_MS + 700 },
};
const REPLY = { deliveryId: "d2", requestId: "d1", from: "bob" };
const carried = (item: RelayedItem) => decodeItem(encodeItem(item, HERE_MS), THERE_MS);

describe("what replicas tell each other", () => {
  it("arrives as it was said, with times by the receiver's clock", () => {
    const names = { namespace: "n", from: "alice" };
    const one = { deliveryId: "d1", toAgentId: "bob", ...names };
    expect(carried({ kind: "message", message: { ...one, letter } })).toEqual({
      kind: "message",
      message: { ...one, letter: there },
    });
    const many = { ...names, toAgentIds: ["bob", "carol"] };
    expect(carried({ kind: "copies", copies: { ...many, letter } })).toEqual({
      kind: "copies",
      copies: { ...many, letter: there },
    });
    const part = { more: true, part: 3 };
    expect(carried({ kind: "reply", reply: { ...REPLY, letter: { ...letter, ...part } } })).toEqual(
      { kind: "reply", reply: { ...REPLY, letter: { ...there, ...part } } },
    );
    expect(carried({ kind: "cancel", deliveryId: "d1" })).toEqual({
      kind: "cancel",
      deliveryId: "d1",
    });
    const published = { topic: "a.b", from: "z", subject: bytes("s"), payload: bytes("p") };
    const publication = { kind: "publication", namespace: "n" } as const;
    expect(carried({ ...publication, published: { ...published, acceptedAtMs: 12 } })).toEqual({
      ...publication,
      published: { ...published, acceptedAtMs: 12 },
    });
  });

  it("holds nothing of the much larger batch that it came in", () => {
    const item = encodeItem({ kind: "reply", reply: { ...REPLY, letter } }, HERE_MS);
    const published = { topic: "a.b", from: "z", subject: bytes("s"), payload: bytes("p") };
    const told = {
      kind: "publication",
      namespace: "n",
      published: { ...published, acceptedAtMs: 1 },
    };
    for (const one of [item, encodeItem(told as RelayedItem, HERE_MS)]) {
      const batch = new Uint8Array(100_000);
      batch.set(one);
      const carriedIn = decodeItem(batch.subarray(0, one.length), THERE_MS);
      const content = carriedIn?.kind === "reply" ? carriedIn.reply.letter : undefined;
      const news = carriedIn?.kind === "publication" ? carriedIn.published : undefined;
      const views = [content?.payload, content?.subject, content?.traceparent, news?.payload];
      const found = [...views, news?.subject].filter((view) => view !== undefined);
      expect(found.length).toBeGreaterThan(1);
      expect(found.filter(({ buffer }) => buffer === batch.buffer)).toEqual([]);
    }
  });

  it("knows every outcome", () => {
    for (const outcome of OUTCOMES) {
      const verdict = { outcome, text: "why", reason: "WORD", retryAfterMs: 250 };
      const item = { kind: "outcome", outcome: { deliveryId: "d1", verdict } } as const;
      expect(carried(item)).toEqual(item);
    }
  });

  it("passes over what a later version says, and refuses what is damaged", () => {
    expect(decodeItem(new Uint8Array(), 0)).toBeUndefined();
    expect(() => decodeItem(bytes("\u0001damaged"), 0)).toThrow(Error);
  });
});
