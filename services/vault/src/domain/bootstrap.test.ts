import { describe, expect, it } from "vitest";
import { type BootstrapOptions, bootstrapPrincipals } from "./bootstrap.ts";

/** A vault that has its administrator, and whose principals are counted by `count`. */
function setUp(count: () => Promise<ReadonlyMap<number, number>>) {
  const heard: unknown[] = [];
  const options = {
    principals: { find: async () => ({ principalId: "admin" }) },
    upkeep: { countPeppers: count },
    events: {
      peppersCounted: (counted: unknown) => heard.push(counted),
      peppersNotCounted: (error: unknown) => heard.push(error),
    },
    serviceSecrets: new Map(),
    peppers: { version: 4, oldest: 3 },
  } as unknown as BootstrapOptions;
  return { options, heard };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("bootstrapPrincipals", () => {
  it("is over before the passwords are counted, and also when they cannot be", async () => {
    await bootstrapPrincipals(setUp(() => new Promise(() => undefined)).options);
    const failure = new Error("out of time");
    const { options, heard } = setUp(() => Promise.reject(failure));
    await bootstrapPrincipals(options);
    await settled();
    expect(heard).toEqual([failure]);
  });

  it("says how many passwords follow, how many are refused, and with which version none would be", async () => {
    const stored = new Map([
      [5, 1],
      [4, 1],
      [3, 7],
      [2, 2],
      [1, 3],
    ]);
    const { options, heard } = setUp(async () => stored);
    await bootstrapPrincipals(options);
    await settled();
    expect(heard).toEqual([{ version: 4, previous: 7, refused: 5, acceptsAll: 2 }]);
  });
});
