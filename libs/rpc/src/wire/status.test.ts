import { fromBinary } from "@bufbuild/protobuf";
import { status as GrpcCode, Metadata } from "@grpc/grpc-js";
import { StatusSchema } from "@nexus/proto/google-rpc";
import { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { fromWireStatus, isSentByServer, STATUS_DETAILS_HEADER, toWireStatus } from "./status.ts";

function bare(code: number, details: string): NexusError {
  return fromWireStatus({ code, details, metadata: undefined });
}

describe("toWireStatus", () => {
  it("puts code and text into google.rpc.Status too", () => {
    const error = new NexusError({ kind: "conflict", reason: "LEASE_LOST", message: "Lost." });
    const { code, details, metadata } = toWireStatus(error, "orchestrator");
    expect([code, details]).toEqual([GrpcCode.ABORTED, "Lost."]);
    const [bytes] = metadata.get(STATUS_DETAILS_HEADER);
    expect(fromBinary(StatusSchema, bytes as Buffer)).toMatchObject({ code: 10, message: "Lost." });
  });

  it("never sends the cause", () => {
    const cause = new Error("password=hunter2");
    const error = new NexusError({ kind: "internal", reason: "X", message: "Oops.", cause });
    const { metadata } = toWireStatus(error, "vault");
    expect((metadata.get(STATUS_DETAILS_HEADER)[0] as Buffer).toString("latin1")).not.toContain(
      "hunter2",
    );
  });

  it("stays under 8 KiB whatever the error holds", () => {
    const huge = Object.fromEntries(
      Array.from({ length: 500 }, (_, i) => [`key${i}`, "v".repeat(90)]),
    );
    const error = new NexusError({
      kind: "invalid",
      reason: "REQUEST_INVALID",
      message: "例😀".repeat(9_000),
      details: {
        metadata: huge,
        fieldViolations: Array.from({ length: 500 }, (_, i) => ({
          field: `f${i}`,
          description: "d".repeat(90),
        })),
      },
    });
    const { details, metadata } = toWireStatus(error, "vault");
    const bytes = (metadata.get(STATUS_DETAILS_HEADER)[0] as Buffer).toString("base64").length;
    expect(details.length).toBeGreaterThan(80);
    expect(bytes + encodeURI(details).length).toBeLessThan(8 * 1024);
  });
});

describe("fromWireStatus", () => {
  it("restores what toWireStatus wrote", () => {
    const error = new NexusError({
      kind: "unavailable",
      reason: "NOT_READY",
      message: "Later.",
      details: { retryAfterMs: 1_500.5, metadata: { a: "b" } },
    });
    const restored = fromWireStatus(toWireStatus(error, "vault"));
    expect(restored).toMatchObject({ kind: "unavailable", reason: "NOT_READY", message: "Later." });
    expect(restored.details).toEqual({ retryAfterMs: 1_500.5, metadata: { a: "b" } });
  });

  it("passes a restored error on with the bytes it came with", () => {
    expect(isSentByServer(bare(GrpcCode.UNAVAILABLE, "No connection"))).toBe(false);
    const original = new NexusError({ kind: "not_found", reason: "JOB_NOT_FOUND", message: "No." });
    const first = toWireStatus(original, "orchestrator");
    const restored = fromWireStatus(first);
    expect(isSentByServer(restored)).toBe(true);
    const second = toWireStatus(restored, "gateway");
    expect(second.metadata.get(STATUS_DETAILS_HEADER)).toEqual(
      first.metadata.get(STATUS_DETAILS_HEADER),
    );
  });

  it("keeps the transport's own words to itself", () => {
    const text = "No connection established. Last error: connect ECONNREFUSED 10.1.2.3:7401";
    const error = bare(GrpcCode.UNAVAILABLE, text);
    expect(error).toMatchObject({ kind: "unavailable", reason: "UNAVAILABLE" });
    expect(error.message).not.toContain("10.1.2.3");
    expect(error.cause).toMatchObject({ message: text });
    expect(toWireStatus(error, "gateway").details).not.toContain("10.1.2.3");
  });

  it.each([
    [GrpcCode.DEADLINE_EXCEEDED, "Deadline exceeded after 0.4s", "deadline", "DEADLINE_EXCEEDED"],
    [GrpcCode.CANCELLED, "Cancelled on client", "cancelled", "CANCELLED"],
    [GrpcCode.CANCELLED, "Call cancelled", "unavailable", "UNAVAILABLE"],
    [
      GrpcCode.INTERNAL,
      "Received RST_STREAM with code 2 (Internal server error)",
      "unavailable",
      "UNAVAILABLE",
    ],
    [GrpcCode.INTERNAL, "Received RST_STREAM with code 9", "internal", "INTERNAL"],
    [
      GrpcCode.RESOURCE_EXHAUSTED,
      "Received message larger than max",
      "exhausted",
      "MESSAGE_TOO_LARGE",
    ],
    [GrpcCode.UNIMPLEMENTED, "No such method", "unimplemented", "METHOD_NOT_FOUND"],
    [GrpcCode.UNKNOWN, "Something", "internal", "INTERNAL"],
    [GrpcCode.NOT_FOUND, "No such row", "not_found", "NOT_FOUND"],
    [99, "Not a code", "internal", "INTERNAL"],
  ])("reads code %i without details", (code, text, kind, reason) => {
    expect(bare(code, text)).toMatchObject({ kind, reason });
  });

  it.each([
    ["Received message larger than max (5000000 vs 4194304)", " of 4194304 bytes"],
    ["Sent message larger than max (5000000 vs. 4194304)", " of 4194304 bytes"],
    ["Attempted to send message with a size larger than 4194304", " of 4194304 bytes"],
    ["Received message that decompresses to a size larger than 4194304", " of 4194304 bytes"],
    ["Received message larger than max", ""],
  ])("names the limit that the transport names: %s", (text, limit) => {
    const message = `A message is larger than the limit${limit}.`;
    expect(bare(GrpcCode.RESOURCE_EXHAUSTED, text)).toMatchObject({ message });
  });

  it("survives details that are no google.rpc.Status", () => {
    const metadata = new Metadata();
    metadata.set(STATUS_DETAILS_HEADER, Buffer.from("ffff", "hex"));
    const error = fromWireStatus({ code: GrpcCode.ABORTED, details: "Clash.", metadata });
    expect(error).toMatchObject({ kind: "conflict", reason: "CONFLICT", message: "Clash." });
  });
});
