import { describe, expect, it } from "vitest";
import { INPUT_BYTES_MAX, INPUTS_BYTES_MAX, InputBook } from "./input-book.ts";

const input = (bytes: number) => ({ contentType: "text/plain", data: Buffer.alloc(bytes, "x") });

describe("the input book", () => {
  it("gives an input once, and tells a task without one from a task it does not know", () => {
    const book = new InputBook();
    book.add("task_a", input(3));
    book.add("task_b", undefined);
    expect(book.take("task_a")).toEqual({ payload: input(3) });
    expect(book.take("task_a")).toBeUndefined();
    expect(book.take("task_b")).toEqual({ payload: undefined });
    expect(book.take("task_c")).toBeUndefined();
    expect(book.bytes).toBe(0);
  });

  it("keeps a copy, not a piece of the bytes it came from", () => {
    const book = new InputBook();
    const whole = Buffer.from("one two");
    book.add("task_a", { contentType: "text/plain", data: whole.subarray(4) });
    whole.fill(0);
    expect(Buffer.from(book.take("task_a")?.payload?.data ?? []).toString()).toBe("two");
  });

  it("forgets the oldest beyond its limit, and keeps nothing too large", () => {
    const book = new InputBook();
    book.add("task_large", input(INPUT_BYTES_MAX + 1));
    expect(book.take("task_large")).toBeUndefined();
    const count = Math.ceil(INPUTS_BYTES_MAX / INPUT_BYTES_MAX) + 5;
    for (let n = 0; n < count; n += 1) {
      book.add(`task_${n}`, input(INPUT_BYTES_MAX));
      expect(book.bytes).toBeLessThanOrEqual(INPUTS_BYTES_MAX);
    }
    expect(book.take("task_0")).toBeUndefined();
    expect(book.take(`task_${count - 1}`)?.payload?.data.length).toBe(INPUT_BYTES_MAX);
  });
});
