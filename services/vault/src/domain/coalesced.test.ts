import { describe, expect, it } from "vitest";
import { coalesced } from "./coalesced.ts";

/** An operation whose runs end when the test says so. */
function createOperation() {
  const ends: { resolve(): void; reject(error: Error): void }[] = [];
  const read = coalesced(
    () => new Promise<void>((resolve, reject) => ends.push({ resolve, reject })),
  );
  return { read, ends };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("coalesced", () => {
  it("never runs twice at once and serves all waiting callers with one more run", async () => {
    const { read, ends } = createOperation();
    const first = read();
    const waiting = [read(), read(), read()];
    expect(ends.length).toBe(1);
    ends[0]?.resolve();
    await first;
    await turn();
    expect(ends.length).toBe(2);
    ends[1]?.resolve();
    await Promise.all(waiting);
    const later = read();
    expect(ends.length).toBe(3);
    ends[2]?.resolve();
    await later;
  });

  it("tells a failure to the callers of that run only", async () => {
    const { read, ends } = createOperation();
    const first = read();
    const second = read();
    ends[0]?.reject(new Error("away"));
    await expect(first).rejects.toThrow("away");
    await turn();
    ends[1]?.resolve();
    await second;
  });

  it("lets a caller in while the next run begins join the one after", async () => {
    const { read, ends } = createOperation();
    const first = read();
    const second = read();
    ends[0]?.resolve();
    await first;
    await turn();
    const third = read();
    expect(ends.length).toBe(2);
    ends[1]?.resolve();
    await second;
    await turn();
    ends[2]?.resolve();
    await third;
  });
});
