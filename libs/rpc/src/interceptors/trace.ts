import type { DescMethod } from "@bufbuild/protobuf";
import { ERROR_KINDS, NexusError } from "@nexus/shared";
import { tracer } from "@nexus/telemetry";
import {
  type Context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  trace,
} from "@opentelemetry/api";
import type { PlannedLayer } from "../server/interceptor.ts";
import { methodPath } from "../wire/codec.ts";

/** Reads one request header by its lower-case name. */
export type HeaderReader = (name: string) => string | undefined;

const HEADER_GETTER: TextMapGetter<HeaderReader> = {
  // Propagators ask for the headers they know; none of W3C's lists them.
  keys: () => [],
  get: (read, name) => read(name),
};

/** The span of one call that is being served. */
export interface ServerSpan {
  readonly traceId: string;
  /** The parent of whatever is done for the call. */
  readonly context: Context;
  /** Ends the span; without an error the call went well. */
  end(error?: unknown): void;
}

/** Starts a server span that continues the caller's trace (W3C traceparent), whatever protocol the call came over. */
export function startServerSpan(method: DescMethod, header: HeaderReader): ServerSpan {
  const parent = propagation.extract(ROOT_CONTEXT, header, HEADER_GETTER);
  const span = tracer().startSpan(
    methodPath(method).slice(1),
    {
      kind: SpanKind.SERVER,
      attributes: {
        "rpc.system": "grpc",
        "rpc.service": method.parent.typeName,
        "rpc.method": method.name,
      },
    },
    parent,
  );
  return {
    traceId: span.spanContext().traceId,
    context: trace.setSpan(parent, span),
    end(error) {
      if (error === undefined) span.setAttribute("rpc.grpc.status_code", 0);
      else markFailed(span, NexusError.from(error));
      span.end();
    },
  };
}

/** Gives the call a server span, which its context carries to whatever the handler does: nothing is ambient. */
export const traceCalls: PlannedLayer = async ({ state, plan }, next) => {
  const span = startServerSpan(plan.method, (name) => state.metadata.get(name));
  state.traceId = span.traceId;
  state.traceContext = span.context;
  try {
    await next();
  } catch (error) {
    span.end(error);
    throw error;
  }
  span.end();
};

function markFailed(span: Span, error: NexusError): void {
  const code = ERROR_KINDS[error.kind].grpcCode;
  span.setAttribute("rpc.grpc.status_code", code);
  span.setAttribute("nexus.error.reason", error.reason);
  // Only the server's own faults mark its span failed; a refused request is an answer.
  const ours = ["internal", "data_loss", "unavailable", "deadline"].includes(error.kind);
  if (ours) span.setStatus({ code: SpanStatusCode.ERROR, message: error.reason });
}
