import { describe, expect, it } from "vitest";
import { together } from "./together.ts";

describe("together", () => {
  it("returns all results in order", async () => {
    const slow = new Promise<string>((resolve) => setImmediate(() => resolve("slow")));
    expect(await together(slow, Promise.resolve(1))).toEqual(["slow", 1]);
  });

  it("throws the error of the first that failed, once all have ended", async () => {
    let ended = false;
    const late = new Promise<void>((resolve) =>
      setImmediate(() => {
        ended = true;
        resolve();
      }),
    );
    const failing = together(
      Promise.reject(new Error("first")),
      Promise.reject(new Error("second")),
      late,
    );
    await expect(failing).rejects.toThrow("first");
    expect(ended).toBe(true);
  });
});
