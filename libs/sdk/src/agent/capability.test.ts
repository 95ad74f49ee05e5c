import { describe, expect, it } from "vitest";
import { createCapability } from "./capability.ts";

const handler = () => null;

describe("createCapability", () => {
  it("reads name and version", () => {
    const capability = createCapability("text.analyse@1.2.3-beta.1", {}, handler);
    expect(capability).toMatchObject({ name: "text.analyse", version: "1.2.3-beta.1" });
  });

  it.each(["text.analyse", "text.analyse@1", "Text@1.0.0", "@1.0.0", "a b@1.0.0"])(
    "refuses %j",
    (spec) => {
      expect(() => createCapability(spec, {}, handler)).toThrow(/name@version/);
    },
  );

  it("checks values against its schemas and says what is wrong", () => {
    const input = { type: "object", required: ["n"], properties: { n: { type: "integer" } } };
    const capability = createCapability("math.double@1.0.0", { input }, handler);
    expect(capability.checkInput({ n: 1 })).toBeUndefined();
    expect(capability.checkInput({ n: "1" })).toMatch(/n must be integer/);
    expect(capability.checkInput({})).toMatch(/required property 'n'/);
    expect(capability.checkOutput("anything")).toBeUndefined();
  });

  it("refuses a schema that does not compile", () => {
    const input = { type: "no such type" };
    expect(() => createCapability("a@1.0.0", { input }, handler)).toThrow(/does not compile/);
  });
});
