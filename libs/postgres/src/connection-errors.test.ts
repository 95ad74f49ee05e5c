import { describe, expect, it } from "vitest";
import { distrustOf, isRetryableConnectionError, sqlStateOf } from "./connection-errors.ts";

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

describe("distrustOf", () => {
  it.each([
    "CERT_HAS_EXPIRED",
    "CERT_NOT_YET_VALID",
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "SELF_SIGNED_CERT_IN_CHAIN",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION",
    "HOSTNAME_MISMATCH",
    "UNSPECIFIED",
  ])("knows %s, which no repetition mends at once", (code) => {
    expect(distrustOf(withCode(code))).toBe(code);
    expect(distrustOf(new Error("wrapped", { cause: withCode(code) }))).toBe(code);
    expect(isRetryableConnectionError(withCode(code))).toBe(false);
  });

  it("knows a server without TLS by the driver's words, and takes nothing else for one", () => {
    const plain = new Error("The server does not support SSL connections");
    expect(distrustOf(plain)).toBe("TLS_NOT_SUPPORTED");
    for (const other of [withCode("ECONNREFUSED"), withCode("28P01"), new Error("x"), null]) {
      expect(distrustOf(other)).toBeUndefined();
    }
  });
});

describe("sqlStateOf", () => {
  it("tells SQLSTATEs from Node's error codes", () => {
    expect(sqlStateOf(withCode("40001"))).toBe("40001");
    expect(sqlStateOf(withCode("EPIPE"))).toBeUndefined();
    expect(sqlStateOf(new Error("outer", { cause: withCode("40P01") }))).toBe("40P01");
    expect(sqlStateOf(undefined)).toBeUndefined();
  });
});
