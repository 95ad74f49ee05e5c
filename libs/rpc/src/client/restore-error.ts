import { type ServiceError, status } from "@grpc/grpc-js";
import type { NexusError } from "@nexus/shared";
import { fromWireStatus } from "../wire/status.ts";

/** Turns what grpc-js reports for a failed call into the NexusError that the server threw. */
export function restoreError(error: ServiceError | null): NexusError {
  return fromWireStatus({
    code: error?.code ?? status.INTERNAL,
    details: error?.details ?? "The call ended without an answer.",
    metadata: error?.metadata,
  });
}
