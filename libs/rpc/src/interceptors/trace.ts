import type { Metadata } from "@grpc/grpc-js";
import { ERROR_KINDS, NexusError } from "@nexus/shared";
import {
  context,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  trace,
} from "@opentelemetry/api";
import type { Interceptor } from "../server/interceptor.ts";

const TRACER = "@nexus/rpc";

const METADATA_GETTER: TextMapGetter<Metadata> = {
  keys: (metadata) => Object.keys(metadata.getMap()),
  get: (metadata, key) => metadata.get(key).filter((value) => typeof value === "string"),
};

/** Runs the call inside a server span that continues the caller's trace (W3C traceparent).
 *
 * The span is active in the handler, also inside an async generator: every step of the generator is asked for from
 * within this function's own async context. */
export const traceCalls: Interceptor = async ({ state, plan }, next) => {
  const parent = propagation.extract(context.active(), state.wireMetadata, METADATA_GETTER);
  const span = trace.getTracer(TRACER).startSpan(
    plan.path.slice(1),
    {
      kind: SpanKind.SERVER,
      attributes: {
        "rpc.system": "grpc",
        "rpc.service": plan.method.parent.typeName,
        "rpc.method": plan.method.name,
      },
    },
    parent,
  );
  state.traceId = span.spanContext().traceId;
  try {
    await context.with(trace.setSpan(parent, span), next);
    span.setAttribute("rpc.grpc.status_code", 0);
  } catch (error) {
    markFailed(span, NexusError.from(error));
    throw error;
  } finally {
    span.end();
  }
};

function markFailed(span: Span, error: NexusError): void {
  const code = ERROR_KINDS[error.kind].grpcCode;
  span.setAttribute("rpc.grpc.status_code", code);
  span.setAttribute("nexus.error.reason", error.reason);
  // Only the server's own faults mark its span failed; a refused request is an answer.
  const ours = ["internal", "data_loss", "unavailable", "deadline"].includes(error.kind);
  if (ours) span.setStatus({ code: SpanStatusCode.ERROR, message: error.reason });
}
