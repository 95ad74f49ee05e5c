import { describe, expect, it } from "vitest";
import { AUDIENCE_BYTES_MAX, Audience, WATCHER_BYTES_MAX } from "./audience.ts";

const PIECE = 64 * 1_024;

function createAudience(): Audience<Uint8Array> {
  const bytesOf = (item: Uint8Array): number => item.byteLength;
  return new Audience({ bufferMax: 1_000_000, watchersMax: 1_000, bytesOf });
}

function pushAll(audience: Audience<Uint8Array>, key: string, count: number): void {
  const piece = new Uint8Array(PIECE);
  for (let i = 0; i < count; i += 1) audience.push(key, piece);
}

describe("Audience", () => {
  it("ends a watcher that holds more bytes than it may, and keeps those that read", async () => {
    const audience = createAudience();
    const slow = audience.subscribe("job");
    const quick = audience.subscribe("job");
    const reader = quick.items[Symbol.asyncIterator]();
    const pieces = WATCHER_BYTES_MAX / PIECE + 1;
    for (let i = 0; i < pieces; i += 1) {
      const next = reader.next();
      pushAll(audience, "job", 1);
      await next;
    }
    expect(audience.size).toBe(1);
    expect(slow.items.size * PIECE).toBe(WATCHER_BYTES_MAX);
    const ended = (async () => {
      for await (const _ of slow.items);
    })();
    await expect(ended).rejects.toMatchObject({ kind: "exhausted", reason: "WATCHER_TOO_SLOW" });
    expect(quick.items.closed).toBe(false);
  });

  it("holds no more for all than it may, and gives those that come later an equal part", () => {
    const audience = createAudience();
    const paused = Array.from({ length: 50 }, (_, i) => audience.subscribe(`job-${i}`));
    for (let i = 0; i < paused.length; i += 1) {
      pushAll(audience, `job-${i}`, WATCHER_BYTES_MAX / PIECE);
    }
    const late = audience.subscribe("late");
    pushAll(audience, "late", 2);
    expect(late.items.closed).toBe(false);
    const held = paused.reduce((sum, { items }) => sum + items.size * PIECE, 0);
    expect(held).toBeLessThanOrEqual(2 * AUDIENCE_BYTES_MAX);
  });

  it("has its room again once a watcher left", () => {
    const audience = createAudience();
    for (let round = 0; round < 3; round += 1) {
      const watchers = Array.from({ length: 16 }, (_, i) => audience.subscribe(`job-${i}`));
      for (let i = 0; i < watchers.length; i += 1) {
        pushAll(audience, `job-${i}`, WATCHER_BYTES_MAX / PIECE);
      }
      expect(audience.size).toBe(16);
      for (const { close } of watchers) close();
    }
  });
});
