import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BatchHead, encodeBatch, tryDecodeBatch } from "./batch.ts";

const HEAD: BatchHead = { from: "router-a", incarnation: "i1", sequence: 7, sentAtMs: 12.5 };

const items = fc.array(
  fc.record({ kind: fc.string({ maxLength: 20 }), body: fc.uint8Array({ maxLength: 300 }) }),
  { maxLength: 10 },
);

describe("a batch", () => {
  it("is read as it was written", () => {
    fc.assert(
      fc.property(items, (list) => {
        const read = tryDecodeBatch(encodeBatch(HEAD, list));
        expect(read).toMatchObject(HEAD);
        expect(read?.items.map(({ kind, body }) => [kind, [...body]])).toEqual(
          list.map(({ kind, body }) => [kind, [...body]]),
        );
      }),
    );
  });

  it("that is cut off between two items' bytes is none", () => {
    const whole = encodeBatch(HEAD, [{ kind: "a", body: new Uint8Array(9) }]);
    for (let length = 0; length < whole.length; length += 1) {
      const read = tryDecodeBatch(whole.subarray(0, length));
      // Cut right behind the head it is an empty batch, which says the same as a lost one: nothing.
      expect(read?.items ?? []).toEqual([]);
    }
  });

  it("of another version is none", () => {
    const bytes = encodeBatch(HEAD, []);
    bytes.writeUInt8(2, 0);
    expect(tryDecodeBatch(bytes)).toBeUndefined();
  });
});
