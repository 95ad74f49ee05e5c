import { context, propagation } from "@opentelemetry/api";

/** The trace of the call, which every later span of the job joins; may be empty. */
export function activeTraceparent(): string {
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent ?? "";
}
