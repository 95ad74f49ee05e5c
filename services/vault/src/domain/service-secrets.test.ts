import { describe, expect, it } from "vitest";
import { parseServiceSecrets } from "./service-secrets.ts";

const SECRET = "s".repeat(43);

describe("parseServiceSecrets", () => {
  it("reads names and secrets, also secrets that hold an equals sign", () => {
    expect(parseServiceSecrets(` registry=${SECRET}, gateway = ${SECRET}= ,`)).toEqual({
      secrets: new Map([
        ["registry", SECRET],
        ["gateway", `${SECRET}=`],
      ]),
    });
    expect(parseServiceSecrets("")).toEqual({ secrets: new Map() });
  });

  it("names the problem and never the secret", () => {
    for (const text of [
      `unknown=${SECRET}`,
      SECRET,
      "registry=short",
      `registry=${SECRET},registry=${SECRET}`,
    ]) {
      const parsed = parseServiceSecrets(text);
      expect("problem" in parsed && !parsed.problem.includes(SECRET), text).toBe(true);
    }
  });
});
