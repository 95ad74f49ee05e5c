import { expect, it } from "vitest";
import { Recent } from "./recent.ts";

it("has the last values, oldest first, and no more than it may", () => {
  const recent = new Recent<number>(3);
  expect(recent.values()).toEqual([]);
  recent.push(1);
  recent.push(2);
  expect(recent.values()).toEqual([1, 2]);
  for (const value of [3, 4, 5]) recent.push(value);
  expect(recent.values()).toEqual([3, 4, 5]);
  recent.clear();
  expect(recent.values()).toEqual([]);
  recent.push(6);
  expect(recent.values()).toEqual([6]);
});
