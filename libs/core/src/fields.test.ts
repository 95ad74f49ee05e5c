import { describe, expect, it } from "vitest";
import type { Field } from "./field.ts";
import { bytes, durationMs, float, int, port } from "./number-fields.ts";
import { bool, list, oneOf, secret, string, url } from "./text-fields.ts";

const ENV = { env: "NEXUS_TEST_FIELD", about: "A field." };

/** Parses each text and compares: a value, or a part of the problem after `!`. */
function check(field: Field<unknown>, cases: Readonly<Record<string, unknown>>): void {
  for (const [raw, expected] of Object.entries(cases)) {
    const parsed = field.parse(raw);
    if (typeof expected === "string" && expected.startsWith("!")) {
      expect({ raw, problem: "problem" in parsed ? parsed.problem : "none" }).toEqual({
        raw,
        problem: expect.stringContaining(expected.slice(1)),
      });
    } else {
      expect({ raw, ...parsed }).toEqual({ raw, value: expected });
    }
  }
}

describe("number fields", () => {
  it("reads whole numbers within their bounds", () => {
    check(int({ ...ENV, min: 2, max: 10 }), {
      2: 2,
      10: 10,
      1: "!at least 2",
      11: "!at most 10",
      "": "!whole number",
      "3.5": "!whole number",
      "1e1": "!whole number",
      "0x5": "!whole number",
      abc: "!whole number",
      "99999999999999999999": "!too large",
    });
    check(int(ENV), { "-1": "!at least 0" });
    check(int({ ...ENV, min: -5 }), { "-5": -5 });
  });

  it("reads numbers with a fraction", () => {
    check(float({ ...ENV, max: 1 }), {
      "0.25": 0.25,
      1: 1,
      "1.01": "!at most 1",
      "-0.1": "!at least 0",
      NaN: "!a number",
      Infinity: "!a number",
      " ": "!a number",
      x: "!a number",
    });
  });

  it("reads ports", () => {
    check(port(ENV), { 0: 0, 65535: 65_535, 65536: "!at most 65535", "-1": "!at least 0" });
  });

  it("reads durations with and without a unit", () => {
    check(durationMs(ENV), {
      250: 250,
      "500ms": 500,
      "30s": 30_000,
      "1.5s": 1_500,
      "5m": 300_000,
      "1h": 3_600_000,
      "2 d": 172_800_000,
      "30d": "!at most 2147483647 ms",
      "5 minutes": "!must be a duration",
      "-1s": "!must be a duration",
      s: "!must be a duration",
    });
    check(durationMs({ ...ENV, min: 100 }), { "99ms": "!at least 100 ms" });
  });

  it("reads sizes with and without a unit", () => {
    check(bytes({ ...ENV, max: 2 * 1024 ** 3 }), {
      512: 512,
      "1B": 1,
      "256KiB": 262_144,
      "4MiB": 4_194_304,
      "1 GiB": 1_073_741_824,
      "3GiB": "!at most 2147483648 bytes",
      "4MB": "!must be a size",
      "1.5MiB": "!must be a size",
    });
  });
});

describe("text fields", () => {
  it("reads texts of the right length and form", () => {
    check(string({ ...ENV, min: 2, max: 4, pattern: /^[a-z]+$/ }), {
      ab: "ab",
      a: "!at least 2",
      abcde: "!at most 4",
      AB: "!must match",
    });
  });

  it("says of a short secret only that it is too short", () => {
    const field = secret({ ...ENV, min: 8 });
    expect(field.secret).toBe(true);
    expect(field.parse("hunter2")).toEqual({ problem: "is set, but too short" });
    check(field, { hunter22: "hunter22" });
  });

  it("reads URLs of the allowed schemes without a password", () => {
    check(url(ENV), {
      "http://127.0.0.1:4318": "http://127.0.0.1:4318",
      "https://collector/": "https://collector/",
      "ftp://host": "!must be a URL that starts with http:// or https://",
      "127.0.0.1:4318": "!must be a URL",
      "http://user:hunter2@host": "!must not hold a password",
    });
    check(url({ ...ENV, schemes: ["redis"] }), {
      "redis://h": "redis://h",
      "http://h": "!redis://",
    });
  });

  it("reads one of a closed set", () => {
    check(oneOf({ ...ENV, values: ["a", "b"] }), { a: "a", c: "!one of a, b", A: "!one of" });
  });

  it("reads booleans in the usual words", () => {
    check(bool(ENV), {
      true: true,
      "1": true,
      YES: true,
      on: true,
      false: false,
      "0": false,
      no: false,
      Off: false,
      maybe: "!true or false",
    });
  });

  it("reads lists and drops what is empty", () => {
    check(list({ ...ENV, min: 1, max: 3 }), {
      a: ["a"],
      " a , b,,c ": ["a", "b", "c"],
      ",": "!at least 1",
      "a,b,c,d": "!at most 3",
    });
  });
});

describe("a field's definition", () => {
  it("refuses a name that is not of the project's form", () => {
    for (const env of ["REGISTRY_PORT", "NEXUS_", "NEXUS_registry", "NEXUS_A__B", "NEXUS_A-B"]) {
      expect(() => int({ env, about: "" })).toThrow("NEXUS_<SERVICE>_<THING>_<UNIT>");
    }
  });

  it("refuses a default that the field itself would refuse", () => {
    expect(() => int({ ...ENV, default: 11, max: 10 })).toThrow("at most 10");
    expect(() => oneOf({ ...ENV, values: ["a"], default: "b" })).toThrow("one of a");
  });

  it("refuses to be optional and to have a default", () => {
    expect(() => int({ ...ENV, default: 1, optional: true })).toThrow("cannot be optional");
  });
});
