import { describe, expect, it } from "vitest";
import { renderErrorDocs } from "./error-docs.ts";
import { ERROR_KINDS, isErrorKind, kindOfGrpcCode } from "./error-kinds.ts";
import { ERROR_REASONS, isErrorReason } from "./error-reasons.ts";
import { INTERNAL_ERROR_MESSAGE, NexusError } from "./nexus-error.ts";
import { TASK_FAILURE_REASONS } from "./task-failure-reasons.ts";

const UNKNOWN_GRPC_CODE = 2;

describe("a planned end", () => {
  it("is that of an old connection and of a server that goes", () => {
    const ended = (reason: string) => new NexusError({ kind: "unavailable", reason, message: "m" });
    expect(NexusError.levelOfEnd(ended("CONNECTION_AGED"))).toBe("debug");
    expect(NexusError.levelOfEnd(ended("SERVER_DRAINING"))).toBe("debug");
    expect(NexusError.levelOfEnd(ended("UNAVAILABLE"))).toBe("warn");
    expect(NexusError.levelOfEnd(new Error("CONNECTION_AGED"))).toBe("warn");
  });
});

describe("the root cause", () => {
  it("is what lies at the bottom, told once", () => {
    const refused =
      "No connection. Last error: Error: connect ECONNREFUSED ::1:7400. Resolution note: ";
    const cause = new Error("outer", { cause: new Error(refused) });
    const error = new NexusError({ kind: "unavailable", reason: "X", message: "m", cause });
    expect(NexusError.rootCause(error)).toBe("connect ECONNREFUSED ::1:7400");
    expect(NexusError.rootCause(new Error("alone"))).toBeUndefined();
    expect(NexusError.rootCause("no error")).toBeUndefined();
  });
});

describe("ERROR_KINDS", () => {
  it("gives every kind its own gRPC code, and all but OK and UNKNOWN are used", () => {
    const codes = Object.values(ERROR_KINDS).map((info) => info.grpcCode);
    const expected = Array.from({ length: 16 }, (_, i) => i + 1).filter(
      (code) => code !== UNKNOWN_GRPC_CODE,
    );
    expect(codes.sort((a, b) => a - b)).toEqual(expected);
  });

  it("maps a code back to its kind, and anything unknown to internal", () => {
    for (const [kind, info] of Object.entries(ERROR_KINDS)) {
      expect(kindOfGrpcCode(info.grpcCode)).toBe(kind);
    }
    expect([UNKNOWN_GRPC_CODE, 0, 99].map(kindOfGrpcCode)).toEqual(Array(3).fill("internal"));
  });

  it("follows google/rpc/code.proto for HTTP", () => {
    const http = Object.entries(ERROR_KINDS).map(([kind, info]) => `${kind} ${info.httpStatus}`);
    expect(http).toEqual([
      "invalid 400",
      "unauthenticated 401",
      "forbidden 403",
      "not_found 404",
      "exists 409",
      "precondition 400",
      "conflict 409",
      "out_of_range 400",
      "exhausted 429",
      "unavailable 503",
      "deadline 504",
      "cancelled 499",
      "unimplemented 501",
      "data_loss 500",
      "internal 500",
    ]);
  });

  it("knows its kinds by name, and no inherited property", () => {
    expect([isErrorKind("conflict"), isErrorKind("toString"), isErrorKind("")]).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe("ERROR_REASONS", () => {
  it("names every reason in UPPER_SNAKE and says what it means in a sentence", () => {
    for (const [name, { kind, meaning }] of Object.entries(ERROR_REASONS)) {
      expect(name).toMatch(/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/);
      expect(meaning).toMatch(/^[A-Z].*\.$/);
      expect(isErrorKind(kind)).toBe(true);
    }
  });

  it("knows its reasons by name", () => {
    expect([isErrorReason("INTERNAL"), isErrorReason("NO_SUCH_REASON")]).toEqual([true, false]);
  });
});

describe("NexusError", () => {
  it("keeps kind, reason, message, details and cause", () => {
    const cause = new Error("below");
    const details = { retryAfterMs: 5, metadata: { task: "t" } };
    const error = new NexusError({
      kind: "conflict",
      reason: "QUEUE_FULL",
      message: "Text.",
      details,
      cause,
    });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: "NexusError",
      kind: "conflict",
      message: "Text.",
      details,
    });
    expect(error.cause).toBe(cause);
  });

  it("has no cause property and empty details when none are given", () => {
    const error = new NexusError({ kind: "invalid", reason: "ID_INVALID", message: "Text." });
    expect(Object.hasOwn(error, "cause")).toBe(false);
    expect(error.details).toEqual({});
  });

  it("passes through from() unchanged", () => {
    const error = new NexusError({ kind: "invalid", reason: "ID_INVALID", message: "Text." });
    expect(NexusError.from(error)).toBe(error);
  });

  it("turns anything else into internal with a fixed text, and keeps it as the cause", () => {
    for (const thrown of [new Error("SELECT secret FROM t"), "text", 7, undefined, null]) {
      const error = NexusError.from(thrown);
      expect(error).toMatchObject({
        kind: "internal",
        reason: "INTERNAL",
        message: INTERNAL_ERROR_MESSAGE,
      });
      expect(error.cause).toBe(thrown);
    }
  });

  it("is told apart by kind and reason", () => {
    const error = new NexusError({ kind: "invalid", reason: "ID_INVALID", message: "Text." });
    expect(NexusError.is(error, "invalid")).toBe(true);
    expect(NexusError.is(error, "invalid", "ID_INVALID")).toBe(true);
    expect(NexusError.is(error, "invalid", "OTHER")).toBe(false);
    expect(NexusError.is(error, "conflict")).toBe(false);
    expect(NexusError.is(new Error("x"), "invalid")).toBe(false);
  });
});

describe("renderErrorDocs", () => {
  it("has one row per kind, reason and task failure, the latter two sorted", () => {
    const rows = renderErrorDocs()
      .split("\n")
      .filter((line) => line.startsWith("| `"))
      .map((line) => line.split("`")[1] ?? "");
    const kinds = Object.keys(ERROR_KINDS);
    expect(rows.slice(0, kinds.length)).toEqual(kinds);
    expect(rows.slice(kinds.length)).toEqual([
      ...Object.keys(ERROR_REASONS).sort(),
      ...Object.keys(TASK_FAILURE_REASONS).sort(),
    ]);
  });

  it("ends with exactly one line break", () => {
    expect(renderErrorDocs()).toMatch(/[^\n]\n$/);
  });
});
