import type { CallContext } from "@nexus/rpc";
import { propagation } from "@opentelemetry/api";

/** The trace of the call, which every later span of the job joins; may be empty. */
export function traceparentOf({ traceContext }: CallContext): string {
  const carrier: { traceparent?: string } = {};
  propagation.inject(traceContext, carrier);
  return carrier.traceparent ?? "";
}
