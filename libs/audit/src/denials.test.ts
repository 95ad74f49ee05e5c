import { describe, expect, it } from "vitest";
import { DenialCounter } from "./denials.ts";

const denial = (detail: string) => ({ action: "a", reason: "r", detail });

describe("DenialCounter", () => {
  it("lets the first of a kind through and counts the others, until the window ends", () => {
    const counter = new DenialCounter<string>();
    expect(counter.note(denial("x"), "first")).toBe("enter");
    expect(counter.note(denial("x"), "second")).toBe("counted");
    expect(counter.note(denial("y"), "other")).toBe("enter");
    expect(counter.note(denial("x"), "third")).toBe("counted");
    expect(counter.takeCounted()).toMatchObject([{ count: 2, entry: "second" }]);
    expect(counter.takeCounted()).toEqual([]);
    expect(counter.note(denial("x"), "fourth")).toBe("enter");
  });

  it("stays small however many kinds there are, and loses none", () => {
    const counter = new DenialCounter<string>();
    let entered = 0;
    for (let index = 0; index < 10_000; index++) {
      if (counter.note(denial(String(index)), "e") === "enter") entered++;
    }
    const counted = counter.takeCounted();
    expect(entered).toBe(64);
    expect(counted).toMatchObject([{ count: 10_000 - 64, entry: "e" }]);
  });

  it("counts once more what could not be entered, with what came since", () => {
    const counter = new DenialCounter<string>();
    for (const text of ["first", "second", "third"]) counter.note(denial("x"), text);
    const taken = counter.takeCounted();
    counter.note(denial("x"), "fourth");
    counter.note(denial("x"), "fifth");
    counter.putBack(taken);
    expect(counter.takeCounted()).toMatchObject([{ count: 3 }]);
    expect(counter.takeCounted()).toEqual([]);
  });
});
