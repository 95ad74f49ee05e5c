import { withDeadline } from "@nexus/shared";
import { propagation, type Tracer, trace } from "@opentelemetry/api";
import { defaultResource, resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOffSampler,
  BatchSpanProcessor,
  NodeTracerProvider,
  ParentBasedSampler,
  type Sampler,
  SimpleSpanProcessor,
  type SpanExporter,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace-node";

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
const EXPORT_TIMEOUT_MS = 5_000;
const SPAN_QUEUE_MAX = 2_048;
const SPAN_BATCH_MAX = 512;

/** The OpenTelemetry API holds one provider per process, so this mirrors its state: several services that run in
 * one process (tests) share the tracer of the first. */
let registered: NodeTracerProvider | undefined;

/** The exporter is loaded where it is used: it is a tenth of all code that a service loads. */
async function processors(options: TracingOptions): Promise<SpanProcessor[]> {
  if (options.exporter !== undefined) return [new SimpleSpanProcessor(options.exporter)];
  if (options.otlpEndpoint === undefined) return [];
  const url = `${options.otlpEndpoint.replace(/\/+$/, "")}/v1/traces`;
  const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-proto");
  const exporter = new OTLPTraceExporter({ url, timeoutMillis: EXPORT_TIMEOUT_MS });
  const limits = { maxQueueSize: SPAN_QUEUE_MAX, maxExportBatchSize: SPAN_BATCH_MAX };
  return [new BatchSpanProcessor(exporter, limits)];
}

/** Without an exporter spans only carry ids: they cost 1 us instead of 4 and record nothing.
 *
 * A remote parent that was not sampled usually comes from a process without an exporter (an agent, a CLI), so it
 * does not veto: the ratio decides by trace id, the same way in every service. */
function sampler(exporting: boolean, ratio: number): Sampler {
  if (!exporting) return new AlwaysOffSampler();
  const byTraceId = new TraceIdRatioBasedSampler(ratio);
  return new ParentBasedSampler({ root: byTraceId, remoteParentNotSampled: byTraceId });
}

/** Registers this process's tracer: W3C trace context in and out, and export by OTLP over HTTP with protobuf bodies when an
 * endpoint is given. No context manager: the trace travels in the context of each call, because one that follows async
 * calls makes every promise of the process dearer (docs/adr/0011-trace-context.md).
 *
 * The first call of a process counts; later ones return a handle whose shutdown does nothing. */
export async function initTracing(options: TracingOptions): Promise<Tracing> {
  const spanProcessors = registered === undefined ? await processors(options) : [];
  if (registered !== undefined) return { exporting: false, shutdown: () => Promise.resolve() };
  const exporting = spanProcessors.length > 0;
  const attributes = { "service.name": `nexus-${options.service}`, "service.namespace": "nexus" };
  const provider = new NodeTracerProvider({
    resource: defaultResource().merge(resourceFromAttributes(attributes)),
    sampler: sampler(exporting, options.sampleRatio ?? 1),
    spanProcessors,
  });
  provider.register({ contextManager: null });
  registered = provider;
  return {
    exporting,
    async shutdown() {
      if (registered !== provider) return;
      registered = undefined;
      trace.disable();
      propagation.disable();
      try {
        await withDeadline(provider.shutdown(), SHUTDOWN_TIMEOUT_MS);
      } catch {
        // Spans that the collector did not take in time are lost by design; the process goes down regardless.
      }
    },
  };
}

/** Returns the tracer through which interceptors make their spans; follows the registered provider. */
export function tracer(): Tracer {
  return trace.getTracer(TRACER_NAME);
}
