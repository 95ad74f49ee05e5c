import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { type PepperBoxes, Peppers } from "./peppers.ts";
import type { SealedBox } from "./sealed-box.ts";

/** Boxes that replicas share, in clear. */
function sharedBoxes() {
  const stored = new Map<string, SealedBox>();
  const boxes = {
    find: async (name: string) => stored.get(name),
    ensure: async (name: string, make: () => SealedBox) => {
      if (!stored.has(name)) stored.set(name, make());
      return stored.get(name) as SealedBox;
    },
  };
  return { stored, boxes };
}

const CLEAR: PepperBoxes = {
  newBox: () => ({ box: randomBytes(32), keyVersion: 1 }),
  open: (_name, { box }) => Buffer.from(box),
};
const FIRST = randomBytes(32);

async function openPeppers(current: number, { boxes }: ReturnType<typeof sharedBoxes>) {
  const peppers = new Peppers({ current, boxes });
  await peppers.open(Buffer.from(FIRST), CLEAR);
  return peppers;
}

/** A pepper as its version and bytes. */
const bytesOf = async (peppers: Peppers, version: number) =>
  (await peppers.find(version))?.key.export().toString("hex");

describe("Peppers", () => {
  it("take the first from vault's digest key and store none for it", async () => {
    const shared = sharedBoxes();
    const peppers = await openPeppers(1, shared);
    expect(peppers.current?.version).toBe(1);
    expect(await bytesOf(peppers, 1)).toBe(FIRST.toString("hex"));
    expect(shared.stored.size).toBe(0);
  });

  it("accept the current version and the one before, and none that is older", async () => {
    const shared = sharedBoxes();
    const second = await openPeppers(2, shared);
    expect([second.current?.version, second.oldest]).toEqual([2, 1]);
    expect(await bytesOf(second, 1)).toBe(FIRST.toString("hex"));
    const third = await openPeppers(3, shared);
    expect(await third.find(1)).toBeUndefined();
    expect(await bytesOf(third, 2)).toBe(await bytesOf(second, 2));
    expect(
      new Set([FIRST.toString("hex"), await bytesOf(third, 2), await bytesOf(third, 3)]).size,
    ).toBe(3);
  });

  it("refuse a version that was skipped, and make none for it", async () => {
    const shared = sharedBoxes();
    await openPeppers(1, shared);
    await expect(openPeppers(3, shared)).rejects.toMatchObject({
      reason: "PEPPER_VERSION_SKIPPED",
    });
    expect(shared.stored.size).toBe(0);
    await openPeppers(2, shared);
    expect((await openPeppers(3, shared)).current?.version).toBe(3);
    // Lowered again: what was there is there.
    expect((await openPeppers(2, shared)).current?.version).toBe(2);
  });

  it("know the next version as soon as another replica has made it", async () => {
    const shared = sharedBoxes();
    const behind = await openPeppers(1, shared);
    expect(await behind.find(2)).toBeUndefined();
    const ahead = await openPeppers(2, shared);
    expect(await bytesOf(behind, 2)).toBe(await bytesOf(ahead, 2));
    expect(behind.current?.version).toBe(1);
  });

  it("are the same on all replicas that start together", async () => {
    const shared = sharedBoxes();
    const replicas = await Promise.all([openPeppers(2, shared), openPeppers(2, shared)]);
    const [one, other] = await Promise.all(replicas.map((peppers) => bytesOf(peppers, 2)));
    expect(one).toBe(other);
  });

  it("are gone after a seal, also one that was being read", async () => {
    const shared = sharedBoxes();
    await openPeppers(2, shared);
    const peppers = await openPeppers(1, shared);
    const reading = peppers.find(2);
    peppers.close();
    expect(await reading).toBeUndefined();
    expect([peppers.current, await peppers.find(1)]).toEqual([undefined, undefined]);
  });
});
