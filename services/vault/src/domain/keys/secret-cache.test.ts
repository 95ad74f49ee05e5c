import { createManualClock } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { SecretCache } from "./secret-cache.ts";

const SECRET = "0123456789abcdef";

function setUp(max = 3) {
  const clock = createManualClock();
  const cache = new SecretCache({ max, ttlMs: 1000, clock });
  const made: Buffer[] = [];
  const load = async () => {
    const secret = Buffer.from(SECRET);
    made.push(secret);
    return secret;
  };
  const read = (name: string) => cache.use(name, load, (secret) => secret.toString());
  const isZero = (index: number) => made[index]?.every((byte) => byte === 0) === true;
  return { cache, clock, made, load, read, isZero };
}

describe("SecretCache", () => {
  it("loads a key once and zeroes it when its time is over", async () => {
    const { cache, clock, made, read, isZero } = setUp();
    expect(await Promise.all([read("a"), read("a"), read("a")])).toEqual([SECRET, SECRET, SECRET]);
    expect(made.length).toBe(1);
    clock.advance(999);
    cache.sweep();
    expect(isZero(0)).toBe(false);
    clock.advance(1);
    cache.sweep();
    expect([isZero(0), cache.size]).toEqual([true, 0]);
    expect(await read("a")).toBe(SECRET);
    expect(made.length).toBe(2);
  });

  it("zeroes the key that was used longest ago when it is full", async () => {
    const { cache, read, isZero } = setUp();
    for (const name of ["a", "b", "c", "a", "d"]) await read(name);
    expect(cache.size).toBe(3);
    expect([isZero(0), isZero(1), isZero(2)]).toEqual([false, true, false]);
  });

  it("zeroes what is dropped, by name and by prefix", async () => {
    const { cache, read, isZero } = setUp();
    for (const name of ["k/1", "k/2", "l/1"]) await read(name);
    cache.deleteAll("k/");
    expect([isZero(0), isZero(1), isZero(2)]).toEqual([true, true, false]);
    cache.delete("l/1");
    expect(isZero(2)).toBe(true);
  });

  it("does not keep what was read before a key was dropped, and lends nothing of it", async () => {
    const { cache, made } = setUp();
    const gates: ((secret: Buffer) => void)[] = [];
    const slow = () => new Promise<Buffer>((resolve) => gates.push(resolve));
    const reading = cache.use("k/1", slow, (secret) => secret.toString());
    cache.deleteAll("k/");
    const stale = Buffer.from("destroyed");
    gates[0]?.(stale);
    while (gates.length < 2) await Promise.resolve();
    expect(stale.every((byte) => byte === 0)).toBe(true);
    gates[1]?.(Buffer.from("fresh"));
    expect(await reading).toBe("fresh");
    expect(made.length).toBe(0);
  });

  it("keeps a key that loads while others are dropped", async () => {
    const { cache } = setUp();
    let loads = 0;
    const load = async () => {
      loads++;
      cache.deleteAll("l/");
      cache.delete("m/1");
      return Buffer.from(SECRET);
    };
    expect(await cache.use("k/1", load, (secret) => secret.toString())).toBe(SECRET);
    expect(loads).toBe(1);
  });

  it("passes the failure of a load on and tries anew the next time", async () => {
    const { cache, read } = setUp();
    const fail = () => Promise.reject(new Error("no database"));
    await expect(cache.use("a", fail, () => 1)).rejects.toThrow("no database");
    expect(await read("a")).toBe(SECRET);
  });
});
