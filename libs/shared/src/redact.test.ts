import { describe, expect, it } from "vitest";
import { REDACTED, redactSecrets, SECRET_FIELDS } from "./redact.ts";

describe("redactSecrets", () => {
  it("replaces every secret field in any case, and leaves the given object as it was", () => {
    for (const name of SECRET_FIELDS) {
      for (const key of [name, name.toUpperCase(), name.toLowerCase()]) {
        const given = { [key]: "hunter2", plain: 1 };
        expect(redactSecrets(given)).toEqual({ [key]: REDACTED, plain: 1 });
        expect(given[key]).toBe("hunter2");
      }
    }
  });

  it("returns the same object when there is nothing to hide", () => {
    const given = { a: 1, b: { c: [1, { d: "x" }] }, when: new Date(), bytes: Buffer.from("x") };
    expect(redactSecrets(given)).toBe(given);
  });

  it("looks into objects and lists down to three levels", () => {
    const deep = { a: { b: { c: { token: "hunter2" } } }, list: [{ password: "hunter2" }, 7] };
    expect(redactSecrets(deep)).toEqual({
      a: { b: { c: { token: REDACTED } } },
      list: [{ password: REDACTED }, 7],
    });
    const deeper = { a: { b: { c: { d: { token: "hunter2" } } } } };
    expect(redactSecrets(deeper)).toBe(deeper);
  });

  it("leaves absent secrets absent and hides all other values, whatever their type", () => {
    expect(redactSecrets({ token: undefined, secret: null })).toEqual({
      token: undefined,
      secret: null,
    });
    expect(redactSecrets({ token: 7, secret: { a: 1 }, password: "" })).toEqual({
      token: REDACTED,
      secret: REDACTED,
      password: REDACTED,
    });
  });

  it("does not end in a circle", () => {
    const circle: Record<string, unknown> = { a: 1 };
    circle["self"] = circle;
    expect(redactSecrets(circle)).toBe(circle);
  });
});
