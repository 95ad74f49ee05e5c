import type { CallContext } from "@nexus/rpc";
import { trace } from "@opentelemetry/api";
import { toTraceparent } from "../engine/traceparent.ts";

/** The trace of the call, which every later span of the job joins; may be empty. */
export function traceparentOf({ traceContext }: CallContext): string {
  return toTraceparent(trace.getSpanContext(traceContext));
}
