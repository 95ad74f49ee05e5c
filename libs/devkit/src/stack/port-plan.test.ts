import { describe, expect, it } from "vitest";
import { planFreePorts, planPorts, portBaseProblem } from "./port-plan.ts";

describe("planPorts", () => {
  it("gives the ports of the design for the default base", () => {
    expect(planPorts(7400)).toEqual({
      grpc: {
        gateway: 7400,
        registry: 7401,
        orchestrator: 7402,
        "mesh-router": 7403,
        vault: 7404,
        insight: 7405,
      },
      ops: {
        gateway: 9400,
        registry: 9401,
        orchestrator: 9402,
        "mesh-router": 9403,
        vault: 9404,
        insight: 9405,
      },
      http: 7480,
      postgres: 7432,
    });
  });

  it("puts further orchestrators between the services and the database", () => {
    const { grpc, ops, postgres, redis } = planPorts(7400, { orchestrator: 16 });
    expect(grpc["orchestrator-2"]).toBe(7412);
    expect(ops["orchestrator-16"]).toBe(9426);
    const all = [...Object.values(grpc), postgres];
    expect(new Set(all).size).toBe(6 + 15 + 1);
    expect(redis).toBeUndefined();
  });

  it("puts further mesh-routers behind their Redis, and no two at one port", () => {
    const plan = planPorts(7400, { orchestrator: 16, "mesh-router": 16 });
    expect(plan.redis).toBe(7433);
    expect(plan.grpc["mesh-router-2"]).toBe(7442);
    expect(plan.ops["mesh-router-16"]).toBe(9456);
    const all = [...Object.values(plan.grpc), ...Object.values(plan.ops)];
    all.push(plan.http, plan.postgres, plan.redis ?? 0);
    expect(new Set(all).size).toBe(2 * (6 + 15 + 15) + 3);
  });

  it("finds fourteen different free ports", async () => {
    const plan = await planFreePorts();
    const all = [...Object.values(plan.grpc), ...Object.values(plan.ops), plan.http, plan.postgres];
    expect(new Set(all).size).toBe(14);
    expect(all.every((port) => port > 0)).toBe(true);
    expect(plan.redis).toBeUndefined();
    expect((await planFreePorts({ "mesh-router": 2 })).redis).toBeGreaterThan(0);
  });

  it.each([80, 7400.5, Number.NaN, 64_000, -1])("refuses the base %d", (base) => {
    expect(portBaseProblem(base)).toMatch(/whole number from 1024/);
  });

  it.each([
    [10_000, 10_080],
    [8075, 10_080],
    [4697, 6697],
  ])("refuses the base %d, by which HTTP would be served at %d", (base, port) => {
    expect(portBaseProblem(base)).toContain(
      `HTTP would be served at ${port}, a port that browsers`,
    );
  });

  it.each([1024, 7400, 63_000])("accepts the base %d", (base) => {
    expect(portBaseProblem(base)).toBeUndefined();
  });
});
