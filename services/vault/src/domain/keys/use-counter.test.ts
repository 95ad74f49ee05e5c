import type { Namespace } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { NamedKey, UseReservation } from "./named-key.ts";
import { PLAIN_ROTATE_USES, PLAIN_USES_MAX, rotateAtUses, UseCounter } from "./use-counter.ts";

const KEY: NamedKey = {
  namespace: "default" as Namespace,
  name: "k",
  keyId: "key_1",
  type: "plain-gcm",
  state: "active",
  latestVersion: 1,
  minDecryptionVersion: 1,
  rotationPeriodMs: 0,
  maxUses: 0,
  expiresAtMs: undefined,
  deletionAllowed: false,
  createdAtMs: 0,
  rotatedAtMs: 0,
};

/** The database's part: what was taken survives every counter. */
function setUp(reservedBefore = 0) {
  const state = { reserved: reservedBefore, round: 0, due: 0 };
  const keys = {
    async reserveUses({ count, limit }: UseReservation) {
      state.round++;
      if (state.reserved + count > limit) return undefined;
      state.reserved += count;
      return state.reserved;
    },
  };
  const start = () => new UseCounter({ keys, onDue: () => state.due++ });
  return { state, start };
}

async function take(counter: UseCounter, key: NamedKey, times: number): Promise<void> {
  for (let use = 0; use < times; use++) await counter.take(key, 1);
}

describe("the bounds of a plain key", () => {
  it("are half and nine tenths of 2^32", () => {
    expect(PLAIN_ROTATE_USES).toBe(2_147_483_648);
    expect(PLAIN_USES_MAX).toBe(3_865_470_566);
    expect(PLAIN_USES_MAX).toBeLessThanOrEqual(0.9 * 2 ** 32);
    expect(rotateAtUses({ type: "plain-gcm", maxUses: 0 })).toBe(PLAIN_ROTATE_USES);
    expect(rotateAtUses({ type: "plain-gcm", maxUses: 100 })).toBe(100);
    expect(rotateAtUses({ type: "plain-gcm", maxUses: 2 ** 40 })).toBe(PLAIN_ROTATE_USES);
    expect(rotateAtUses({ type: "envelope", maxUses: 0 })).toBeUndefined();
  });
});

describe("UseCounter", () => {
  it("asks the database once for thousands of uses, and counts nothing that needs no count", async () => {
    const { state, start } = setUp();
    const counter = start();
    await take(counter, KEY, 5000);
    expect(state).toEqual({ reserved: 65_536, round: 1, due: 0 });
    await counter.take({ ...KEY, keyId: "key_2", type: "envelope" }, 1000);
    expect(state.round).toBe(1);
  });

  it("wastes a block with each crash and repeats nothing", async () => {
    const { state, start } = setUp();
    for (let life = 1; life <= 3; life++) {
      await take(start(), KEY, 10);
      expect(state.reserved).toBe(life * 65_536);
    }
  });

  it("shares one question among those who wait for it", async () => {
    const { state, start } = setUp();
    const counter = start();
    await Promise.all(Array.from({ length: 100 }, () => counter.take(KEY, 256)));
    expect(state.round).toBe(1);
  });

  it("says at half that the next version is due, and goes on until nine tenths", async () => {
    const { state, start } = setUp(PLAIN_ROTATE_USES - 65_536);
    await start().take(KEY, 1);
    expect(state.due).toBe(1);
    state.reserved = PLAIN_USES_MAX - 65_536;
    await start().take(KEY, 1);
    expect(state.reserved).toBe(PLAIN_USES_MAX);
    await expect(start().take(KEY, 1)).rejects.toMatchObject({ reason: "KEY_EXHAUSTED" });
    expect(state).toMatchObject({ reserved: PLAIN_USES_MAX, due: 3 });
  });

  it("takes a small bound in small blocks, and a batch larger than a block at once", async () => {
    const { state, start } = setUp();
    const key = { ...KEY, type: "envelope" as const, maxUses: 160 };
    const counter = start();
    await take(counter, key, 150);
    expect(state).toMatchObject({ reserved: 150, due: 0 });
    await counter.take(key, 1);
    expect(state).toMatchObject({ reserved: 160, due: 1 });
    await counter.take(key, 256);
    expect(state.reserved).toBe(416);
  });
});
