import { describe, expect, it } from "vitest";
import { planScenarios, SCENARIOS } from "./index.ts";

const names = (wanted: readonly string[]) =>
  planScenarios(SCENARIOS, wanted).map(({ name }) => name);

describe("planScenarios", () => {
  it("measures a part once: where the whole is wanted too, as a part of it", () => {
    expect(names(["tasks", "assignment", "memory"])).toEqual(["tasks", "memory"]);
    expect(names(["assignment", "memory"])).toEqual(["assignment", "memory"]);
    expect(names(["tokens", "vault", "logins"])).toEqual(["vault"]);
    expect(names(["tokens"])).toEqual(["tokens"]);
  });

  it("runs what fills the queues last", () => {
    const all = names(SCENARIOS.map(({ name }) => name));
    expect(all.at(-1)).toBe("backlog");
    expect(all).not.toContain("assignment");
  });
});
