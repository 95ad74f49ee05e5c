import { withDeadline } from "@nexus/shared";
import { propagation, type TextMapPropagator, type Tracer, trace } from "@opentelemetry/api";
// One by one: the package's index loads ten times as much.
import { W3CBaggagePropagator } from "@opentelemetry/core/build/src/baggage/propagation/W3CBaggagePropagator.js";
import { CompositePropagator } from "@opentelemetry/core/build/src/propagation/composite.js";
import { W3CTraceContextPropagator } from "@opentelemetry/core/build/src/trace/W3CTraceContextPropagator.js";
import type { SpanExporter } from "@opentelemetry/sdk-trace-node";
import { createIdTracerProvider } from "./id-tracer.ts";

/** What initTracing needs. */
export interface TracingOptions {
  /** Short service name; becomes `service.name` = `nexus-<service>`. */
  readonly service: string;
  /** Base address of an OTLP/HTTP collector, e.g. `http://127.0.0.1:4318`. Absent: spans are made for context only. */
  readonly otlpEndpoint?: string | undefined;
  /** Receives every span at once when it ends; for tests. Takes the place of the OTLP exporter. */
  readonly exporter?: SpanExporter;
  /** Share of traces that are exported, 0 to 1; default 1. Decided by trace id, so all services keep the same ones. */
  readonly sampleRatio?: number;
}

/** A running tracer; shutdown sends what is buffered. */
export interface Tracing {
  /** True when spans leave this process. */
  readonly exporting: boolean;
  /** Sends buffered spans, at most SHUTDOWN_TIMEOUT_MS long, and unregisters. Never rejects: a collector that is away must not hold up a shutdown. */
  shutdown(): Promise<void>;
}

/** The instrumentation name under which all NEXUS spans are made. */
const TRACER_NAME = "nexus";
const SHUTDOWN_TIMEOUT_MS = 3_000;

/** What a shutdown takes down again. The OpenTelemetry API holds one provider per process, so this mirrors its state:
 * several services that run in one process (tests) share the tracer of the first. */
let registered: { shutdown(): Promise<void> } | undefined;

/** Registers this process's tracer: W3C trace context in and out, and export by OTLP over HTTP with protobuf bodies when an
 * endpoint is given; without one, spans only carry ids: they cost 1 us instead of 4 and record nothing. No context manager: the
 * trace travels in the context of each call, because one that follows async calls makes every promise of the process
 * dearer (docs/adr/0011-trace-context.md).
 *
 * The first call of a process counts; later ones return a handle whose shutdown does nothing. */
export async function initTracing(options: TracingOptions): Promise<Tracing> {
  const exporter = registered === undefined ? await exportingProvider(options) : undefined;
  if (registered !== undefined) return { exporting: false, shutdown: () => Promise.resolve() };
  trace.setGlobalTracerProvider(exporter ?? createIdTracerProvider());
  propagation.setGlobalPropagator(createPropagator());
  const mine = exporter ?? { shutdown: () => Promise.resolve() };
  registered = mine;
  return {
    exporting: exporter !== undefined,
    async shutdown() {
      if (registered !== mine) return;
      registered = undefined;
      trace.disable();
      propagation.disable();
      try {
        await withDeadline(mine.shutdown(), SHUTDOWN_TIMEOUT_MS);
      } catch {
        // Spans that the collector did not take in time are lost by design; the process goes down regardless.
      }
    },
  };
}

async function exportingProvider({ service, ...options }: TracingOptions) {
  const to = options.exporter ?? options.otlpEndpoint;
  if (to === undefined) return undefined;
  const { createExportingProvider } = await import("./exporting-provider.ts");
  return createExportingProvider({ service, to, sampleRatio: options.sampleRatio ?? 1 });
}

function createPropagator(): TextMapPropagator {
  const propagators = [new W3CTraceContextPropagator(), new W3CBaggagePropagator()];
  return new CompositePropagator({ propagators });
}

/** Returns the tracer through which interceptors make their spans; follows the registered provider. */
export function tracer(): Tracer {
  return trace.getTracer(TRACER_NAME);
}
