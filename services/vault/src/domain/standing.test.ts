import { describe, expect, it } from "vitest";
import { followNumber, type Standing } from "./standing.ts";

function at(keys: bigint): Standing {
  const audit = { entriesWaiting: 0, logSize: 0 };
  return {
    keys,
    revocations: 0n,
    policies: 0n,
    isSealed: false,
    boxKeyVersion: 1,
    ...audit,
    nowMs: 0,
  };
}

const { signal } = new AbortController();

describe("followNumber", () => {
  it("reads once for each number, the first one too", async () => {
    const followed = followNumber(
      ({ keys }) => keys,
      async () => undefined,
    );
    expect(followed.isNew(at(1n))).toBe(true);
    await followed.read(signal);
    expect(followed.isNew(at(1n))).toBe(false);
    expect(followed.isNew(at(2n))).toBe(true);
  });

  it("takes a smaller number for news: the database may be an older copy of itself", async () => {
    const followed = followNumber(
      ({ keys }) => keys,
      async () => undefined,
    );
    followed.isNew(at(7n));
    await followed.read(signal);
    expect(followed.isNew(at(3n))).toBe(true);
  });

  it("reads again after a failure, and for what changed during a reading", async () => {
    let during = (): void => {
      throw new Error("away");
    };
    const followed = followNumber(
      ({ keys }) => keys,
      async () => during(),
    );
    followed.isNew(at(1n));
    await expect(followed.read(signal)).rejects.toThrow("away");
    expect(followed.isNew(at(1n))).toBe(true);
    during = () => void followed.isNew(at(2n));
    await followed.read(signal);
    expect(followed.isNew(at(2n))).toBe(true);
  });
});
