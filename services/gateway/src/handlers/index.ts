import type { StatusService } from "@nexus/proto/gateway";
import type { CallContext, ServiceImplementation } from "@nexus/rpc";
import { createGetStatus, createStatusReader, type StatusReader } from "./get-status.ts";

export { createStatusReader, type StatusReader };

/** What the handlers need. */
export interface HandlerDeps {
  readonly readStatus: StatusReader;
  /** Refuses callers that call too often. */
  readonly admit: (ctx: CallContext) => void;
}

/** Every RPC that the gateway answers itself. */
export function createStatusHandlers({
  readStatus,
  admit,
}: HandlerDeps): ServiceImplementation<typeof StatusService> {
  return { getStatus: createGetStatus(readStatus, admit) };
}
