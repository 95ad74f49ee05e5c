import { Metadata } from "@grpc/grpc-js";
import { fromWireStatus, toWireStatus } from "@nexus/rpc";
import { ERROR_KINDS, type ErrorKind, NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { toCallerError } from "./upstream-error.ts";

function bare(kind: ErrorKind): NexusError {
  const details = "connect ECONNREFUSED 10.0.0.7:7401";
  return fromWireStatus({ code: ERROR_KINDS[kind].grpcCode, details, metadata: undefined });
}

describe("toCallerError", () => {
  it("passes on what the owner said, whatever it is", () => {
    for (const kind of Object.keys(ERROR_KINDS) as ErrorKind[]) {
      const said = new NexusError({ kind, reason: "SAID", message: "So it is." });
      const restored = fromWireStatus(toWireStatus(said, "registry"));
      expect(toCallerError(restored, "registry", false)).toBe(restored);
    }
  });

  it("names the owner, and no address, when the connection broke", () => {
    for (const kind of ["unavailable", "internal", "cancelled"] as const) {
      const error = toCallerError(bare(kind), "mesh-router", false) as NexusError;
      expect([error.kind, error.reason]).toEqual(["unavailable", "UNAVAILABLE"]);
      expect(error.message).toContain("mesh-router");
      expect(error.message).not.toContain("10.0.0.7");
      expect(error.details.metadata).toEqual({ upstream: "mesh-router" });
    }
  });

  it("leaves the other words of the transport alone", () => {
    const error = bare("deadline");
    expect(toCallerError(error, "registry", false)).toBe(error);
  });

  it("blames no owner for a call that its caller ended, nor for our own mistakes", () => {
    const cancelled = bare("cancelled");
    expect(toCallerError(cancelled, "registry", true)).toBe(cancelled);
    const mistake = new TypeError("undefined is not a function");
    expect(toCallerError(mistake, "registry", false)).toBe(mistake);
  });

  it("takes damaged details for none", () => {
    const metadata = new Metadata();
    metadata.set("grpc-status-details-bin", Buffer.from("ff", "hex"));
    const error = fromWireStatus({ code: 14, details: "away", metadata });
    expect(toCallerError(error, "vault", false)).toMatchObject({ reason: "UNAVAILABLE" });
  });
});
