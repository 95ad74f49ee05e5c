import { describe, expect, it } from "vitest";
import { detachFromFrame } from "./frame-bytes.ts";

describe("detachFromFrame", () => {
  it("copies what is less than a quarter of its frame, and keeps what it is", () => {
    const frame = Buffer.from(new Uint8Array(1_000).fill(7).buffer);
    const small = detachFromFrame(frame.subarray(10, 259));
    expect(small.equals(Buffer.alloc(249, 7))).toBe(true);
    expect(small.buffer.byteLength).toBe(249);
    const large = frame.subarray(0, 250);
    expect(detachFromFrame(large)).toBe(large);
  });

  it("holds no frame for nothing", () => {
    const empty = detachFromFrame(new Uint8Array(1_000).subarray(5, 5));
    expect([empty.byteLength, empty.buffer.byteLength]).toEqual([0, 0]);
  });
});
