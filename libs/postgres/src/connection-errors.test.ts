import { describe, expect, it } from "vitest";
import { isRetryableConnectionError, sqlStateOf } from "./connection-errors.ts";

function withCode(code: string): Error {
  return Object.assign(new Error("x"), { code });
}

describe("isRetryableConnectionError", () => {
  it.each([
    withCode("ECONNREFUSED"),
    withCode("ECONNRESET"),
    withCode("57P01"),
    withCode("57P03"),
    withCode("08006"),
    withCode("53300"),
    new Error("Connection terminated unexpectedly"),
    new Error("Connection terminated due to connection timeout"),
    new Error("timeout exceeded when trying to connect"),
    new Error("timeout expired"),
    new Error("Query read timeout"),
    new Error("wrapped", { cause: withCode("ECONNRESET") }),
  ])("accepts %s", (error) => {
    expect(isRetryableConnectionError(error)).toBe(true);
  });

  it.each([withCode("23505"), withCode("42P01"), withCode("ENOENT"), new Error("x"), null, "text"])(
    "refuses %s",
    (error) => {
      expect(isRetryableConnectionError(error)).toBe(false);
    },
  );
});

describe("sqlStateOf", () => {
  it("tells SQLSTATEs from Node's error codes", () => {
    expect(sqlStateOf(withCode("40001"))).toBe("40001");
    expect(sqlStateOf(withCode("EPIPE"))).toBeUndefined();
    expect(sqlStateOf(new Error("outer", { cause: withCode("40P01") }))).toBe("40P01");
    expect(sqlStateOf(undefined)).toBeUndefined();
  });
});
