import type { Assignment } from "@nexus/proto/mesh";
import {
  context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  type TracerProvider,
  trace,
} from "@opentelemetry/api";
import { isThenable } from "./thenable.ts";

const TRACER = "@nexus/sdk";

/** The W3C traceparent of the active span; empty when nothing is traced. */
export function currentTraceparent(): string {
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent ?? "";
}

/** Runs a task's work inside a span that continues the trace of its job; returns a promise when the work does. In a process that traces
 * nothing there is no span. */
export function inTaskSpan<T>(
  assignment: Assignment,
  work: () => T | PromiseLike<T>,
): T | PromiseLike<T> {
  if (!isTraced()) return work();
  const parent = propagation.extract(ROOT_CONTEXT, { traceparent: assignment.traceparent });
  const attributes = {
    "nexus.task_id": assignment.taskId,
    "nexus.job_id": assignment.jobId,
    "nexus.attempt": assignment.attempt,
  };
  const name = `task ${assignment.capability}`;
  const options = { kind: SpanKind.CONSUMER, attributes };
  const span = trace.getTracer(TRACER).startSpan(name, options, parent);
  return context.with(trace.setSpan(parent, span), () => endingSpan(span, work));
}

/** Says whether this process traces. A span that nobody asked for costs as much as all else that a small task needs. Where no tracing is
 * registered the API's own provider stands in, and has nobody to pass spans on to. */
export function isTraced(): boolean {
  const provider = trace.getTracerProvider() as StandIn;
  if (provider.getDelegateTracer === undefined) return true;
  return provider.getDelegateTracer(TRACER) !== undefined || propagation.fields().length > 0;
}

type StandIn = TracerProvider & { getDelegateTracer?(name: string): Tracer | undefined };

function endingSpan<T>(span: Span, work: () => T | PromiseLike<T>): T | PromiseLike<T> {
  try {
    const result = work();
    if (isThenable(result)) return endingSpanLater(span, result);
    span.end();
    return result;
  } catch (error) {
    endFailed(span);
    throw error;
  }
}

async function endingSpanLater<T>(span: Span, result: PromiseLike<T>): Promise<T> {
  try {
    const value = await result;
    span.end();
    return value;
  } catch (error) {
    endFailed(span);
    throw error;
  }
}

function endFailed(span: Span): void {
  span.setStatus({ code: SpanStatusCode.ERROR });
  span.end();
}
