import { describe, expect, it } from "vitest";
import { Stretches } from "./_stretches.ts";

const MESSAGES = 1_000;

/** Messages of 1 ms, and some that took longer. */
function stretch(slow: number, slowMs: number): number[] {
  return Array.from({ length: MESSAGES }, (_, index) => (index < slow ? slowMs : 1));
}

describe("stretches", () => {
  it("are compared by the last hundredth of all their messages, wherever they are", () => {
    const stretches = new Stretches();
    for (const [alone, beside] of [
      [0, 0],
      [0, 40],
      [29, 0],
    ] as const) {
      stretches.add("kind", "alone", stretch(alone, 10));
      stretches.add("kind", "beside", stretch(beside, 15));
    }
    expect(stretches.keys).toEqual(["kind"]);
    expect(stretches.compare("kind")).toMatchObject({ aloneMs: 1, besideMs: 15, ratio: 15 });
  });

  it("differ by chance as far as halves of those alone do", () => {
    const alike = new Stretches();
    const unlike = new Stretches();
    for (const [index, stretches] of [alike, unlike].entries()) {
      for (let at = 0; at < 8; at += 1) {
        stretches.add("kind", "alone", stretch(20, index === 1 && at === 0 ? 40 : 10));
      }
    }
    expect(alike.compare("kind").byChance).toBe(1);
    expect(unlike.compare("kind").byChance).toBe(1);
    unlike.add("kind", "alone", stretch(90, 40));
    expect(unlike.compare("kind").byChance).toBeCloseTo(4);
  });

  it("say nothing where there are none", () => {
    expect(new Stretches().compare("kind").ratio).toBeNaN();
  });
});
