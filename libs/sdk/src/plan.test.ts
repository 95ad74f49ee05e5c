import { fromBinary } from "@bufbuild/protobuf";
import { PlanSchema } from "@nexus/proto/orchestrator";
import { describe, expect, it } from "vitest";
import { createPlan, readPlanRequest, toTaskSpec } from "./plan.ts";

describe("createPlan", () => {
  it("makes a binary plan with inputs as JSON", () => {
    const payload = createPlan(
      [
        { key: "a", capability: "x.y", input: { n: 1 } },
        { key: "b", capability: "x.z", dependencies: [{ taskKey: "a", inputName: "a" }] },
      ],
      "two steps",
    );
    expect(payload.contentType).toBe("application/protobuf");
    const plan = fromBinary(PlanSchema, payload.data);
    expect(plan.summary).toBe("two steps");
    expect(plan.tasks.map(({ key }) => key)).toEqual(["a", "b"]);
    expect(new TextDecoder().decode(plan.tasks[0]?.input?.data)).toBe('{"n":1}');
    expect(plan.tasks[1]?.input).toBeUndefined();
  });
});

describe("toTaskSpec", () => {
  it("leaves out an input that was not given", () => {
    expect("input" in toTaskSpec({ key: "a", capability: "x.y" })).toBe(false);
  });
});

describe("readPlanRequest", () => {
  it("reads protobuf JSON and forgives fields of a newer server", () => {
    const request = readPlanRequest({ objective: "o", capabilities: ["a@1.0.0"], later: 1 });
    expect(request).toMatchObject({ objective: "o", capabilities: ["a@1.0.0"] });
  });
});
