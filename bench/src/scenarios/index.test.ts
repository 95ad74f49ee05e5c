import { SERVICE_HEAP_MIB } from "@nexus/devkit";
import { describe, expect, it } from "vitest";
import { planScenarios, planStacks, SCENARIOS } from "./index.ts";

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
    expect(all.indexOf("backlog")).toBeGreaterThan(all.indexOf("sessions"));
    expect(all.indexOf("sessions")).toBeGreaterThan(all.indexOf("memory"));
    expect(all).not.toContain("assignment");
  });
});

describe("planStacks", () => {
  const stacks = (wanted: readonly string[]) =>
    planStacks(planScenarios(SCENARIOS, wanted)).map(({ scenarios, ...stack }) => ({
      ...stack,
      names: scenarios.map(({ name }) => name),
    }));

  it("starts one stack for all that can share it, with the largest heap that one of them needs", () => {
    expect(stacks(["tasks", "memory"])).toEqual([
      { meshRouters: 1, heapMib: SERVICE_HEAP_MIB, names: ["tasks", "memory"] },
    ]);
    expect(stacks(["tasks", "sessions", "backlog"])).toEqual([
      { meshRouters: 1, heapMib: 1_536, names: ["tasks", "sessions", "backlog"] },
    ]);
  });

  it("starts another one for another number of mesh-routers, and none for nothing", () => {
    expect(stacks(["replicas", "memory"])).toEqual([
      { meshRouters: 1, heapMib: SERVICE_HEAP_MIB, names: ["memory"] },
      { meshRouters: 2, heapMib: SERVICE_HEAP_MIB, names: ["replicas"] },
    ]);
    expect(stacks([])).toEqual([]);
  });
});
