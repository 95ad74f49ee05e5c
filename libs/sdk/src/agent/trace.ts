import type { Assignment } from "@nexus/proto/mesh";
import {
  context,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";

/** The W3C traceparent of the active span; empty when nothing is traced. */
export function currentTraceparent(): string {
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent ?? "";
}

/** Runs a task's work inside a span that continues the trace of its job. */
export async function inTaskSpan<T>(assignment: Assignment, work: () => Promise<T>): Promise<T> {
  const parent = propagation.extract(ROOT_CONTEXT, { traceparent: assignment.traceparent });
  const attributes = {
    "nexus.task_id": assignment.taskId,
    "nexus.job_id": assignment.jobId,
    "nexus.attempt": assignment.attempt,
  };
  const name = `task ${assignment.capability}`;
  const options = { kind: SpanKind.CONSUMER, attributes };
  const span = trace.getTracer("@nexus/sdk").startSpan(name, options, parent);
  return context.with(trace.setSpan(parent, span), async () => {
    try {
      return await work();
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      throw error;
    } finally {
      span.end();
    }
  });
}
