import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type SlotHolder, shareSlots } from "./slot-shares.ts";

/** Written short: `2` holds two; `2+` wants more; `2/3` says that it holds three. */
function parse(text: string): SlotHolder {
  const [, held = "0", claimed = "0"] = /^(\d+)(?:\/(\d+))?\+?$/.exec(text) ?? [];
  return { held: Number(held), claimed: Number(claimed), wants: text.endsWith("+") };
}

function check(slots: number, holders: string, expected: readonly number[], unowned = 0): void {
  const parsed = holders.split(" ").map(parse);
  expect(shareSlots(slots, unowned, parsed), `${slots} slots, ${holders}`).toEqual(expected);
}

describe("shareSlots", () => {
  it("tells everybody of all free slots while at most one wants more", () => {
    check(4, "0", [4]);
    check(4, "4", [4]);
    check(4, "1 0", [4, 3]);
    check(4, "1+ 0", [4, 3]);
    check(4, "2 2+", [2, 2]);
    check(0, "0 0+", [0, 0]);
  });

  it("shares equally between those that want more, and leaves the others what they have", () => {
    check(4, "0+ 0+", [2, 2]);
    check(6, "0+ 0+ 0+", [2, 2, 2]);
    check(6, "0+ 0+ 2", [2, 2, 2]);
    check(4, "1+ 3+", [1, 3]);
    check(4, "1+ 2+", [2, 2]);
  });

  it("gives what does not divide to the first in turn", () => {
    check(1, "0+ 0+", [1, 0]);
    check(1, "0+ 0+ 0+", [1, 0, 0]);
    check(3, "0+ 0+", [2, 1]);
    check(3, "1+ 1+", [2, 1]);
    check(5, "0+ 0+ 0+", [2, 2, 1]);
  });

  it("gives a freed slot to those below their part, one each in turn", () => {
    check(4, "0+ 4+", [0, 4]);
    check(4, "0+ 3+", [1, 3]);
    check(8, "0+ 0+ 6+", [1, 1, 6]);
    check(8, "0+ 0+ 7+", [1, 0, 7]);
  });

  it("counts what is nobody's against all, and what is claimed for its claimant", () => {
    check(4, "0 0", [2, 2], 2);
    check(4, "0/2+ 0", [4, 2], 2);
    check(4, "0/9+ 0", [4, 2], 2);
    check(4, "0/2+ 0/2+", [2, 2], 2);
    check(4, "1/1+ 0", [2, 1], 2);
  });

  it("never says more than there are when the agent took slots back", () => {
    check(1, "2 2", [1, 1]);
    check(1, "2+ 2+", [1, 1]);
  });

  const holder = fc.record({
    held: fc.nat(8),
    claimed: fc.nat(10),
    wants: fc.boolean(),
  });
  const worlds = fc.record({
    slots: fc.nat(40),
    unowned: fc.nat(6),
    holders: fc.array(holder, { minLength: 1, maxLength: 6 }),
  });

  it("gives out no slot twice once two want more, takes none away, and leaves none unused", () => {
    fc.assert(
      fc.property(worlds, ({ slots, unowned, holders }) => {
        const shares = shareSlots(slots, unowned, holders);
        const alone = holders.map((one) => shareSlots(slots, unowned, [one])[0] ?? 0);
        const total = shares.reduce((sum, share) => sum + share, 0);
        const inHand = holders.reduce((sum, { held }) => sum + held, unowned);
        const wanting = holders.filter(({ wants }) => wants).length;
        for (const [index, share] of shares.entries()) {
          expect(share).toBeGreaterThanOrEqual(Math.min(slots, holders[index]?.held ?? 0));
          expect(share).toBeLessThanOrEqual(Math.min(slots, alone[index] ?? 0));
        }
        if (wanting < 2) return;
        expect(total).toBeLessThanOrEqual(Math.max(slots, inHand));
        const claimable = holders.some(({ claimed, held }) => claimed > held);
        if (!claimable && inHand <= slots) expect(total + unowned).toBe(slots);
      }),
      { numRuns: 500 },
    );
  });

  it("brings everybody that wants more to its equal part, within one, as slots come free", () => {
    const contested = fc.record({
      slots: fc.integer({ min: 0, max: 40 }),
      wanting: fc.integer({ min: 2, max: 6 }),
    });
    fc.assert(
      fc.property(contested, ({ slots, wanting }) => {
        // One holds everything; tasks end one by one and every freed slot is used by whoever may.
        const held = Array.from({ length: wanting }, (_, index) => (index === 0 ? slots : 0));
        const rounds = 2 * slots * wanting;
        for (let i = 0; i < rounds; i += 1) {
          const most = held.indexOf(Math.max(...held));
          held[most] = Math.max(0, (held[most] ?? 0) - 1);
          const holders = held.map((have) => ({ held: have, claimed: 0, wants: true }));
          held.splice(0, wanting, ...shareSlots(slots, 0, holders));
        }
        const equal = Math.floor(slots / wanting);
        for (const have of held) {
          expect(have).toBeGreaterThanOrEqual(equal);
          expect(have).toBeLessThanOrEqual(equal + 1);
        }
      }),
      { numRuns: 100 },
    );
  });
});
