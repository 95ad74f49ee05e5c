import { describe, expect, it } from "vitest";
import { POLICY_NAMES } from "./routing-policies.ts";
import { simulateRouting } from "./routing-simulation.ts";

const OPTIONS = { seed: 7, tasks: 8_000, tasksPerSecond: 250 };

describe("routing over a skewed fleet", () => {
  const results = Object.fromEntries(
    POLICY_NAMES.map((name) => [name, simulateRouting(name, OPTIONS)]),
  );
  const nexus = results["nexus"];
  if (nexus === undefined) throw new Error("not simulated");

  for (const name of POLICY_NAMES.slice(1)) {
    it(`succeeds more often and sooner than ${name}`, () => {
      const other = results[name];
      if (other === undefined) throw new Error("not simulated");
      expect(nexus.successShare).toBeGreaterThan(other.successShare);
      expect(nexus.firstTryShare).toBeGreaterThan(other.firstTryShare + 0.1);
      expect(nexus.p95Ms).toBeLessThan(other.p95Ms / 2);
    });
  }

  it("loses next to nothing of what the agents can do", () => {
    expect(nexus.successShare).toBeGreaterThan(0.999);
    expect(nexus.firstTryShare).toBeGreaterThan(0.93);
  });

  it("comes out the same for the same seed, and not for another", () => {
    expect(simulateRouting("nexus", OPTIONS)).toEqual(nexus);
    expect(simulateRouting("nexus", { ...OPTIONS, seed: 8 })).not.toEqual(nexus);
  });
});
