/** Spans that leave the process. Loaded only where they do: it is a tenth of all code that a service would load. */
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { defaultResource, resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  NodeTracerProvider,
  ParentBasedSampler,
  type Sampler,
  SimpleSpanProcessor,
  type SpanExporter,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace-node";

const EXPORT_TIMEOUT_MS = 5_000;
const SPAN_QUEUE_MAX = 2_048;
const SPAN_BATCH_MAX = 512;

/** Where spans go, and how many. */
export interface ExportOptions {
  readonly service: string;
  /** Base address of an OTLP/HTTP collector, or an exporter that receives every span at once. */
  readonly to: string | SpanExporter;
  readonly sampleRatio: number;
}

/** Creates a provider that records spans and exports them. */
export function createExportingProvider(options: ExportOptions): NodeTracerProvider {
  const attributes = { "service.name": `nexus-${options.service}`, "service.namespace": "nexus" };
  return new NodeTracerProvider({
    resource: defaultResource().merge(resourceFromAttributes(attributes)),
    sampler: sampler(options.sampleRatio),
    spanProcessors: [processor(options.to)],
  });
}

function processor(to: string | SpanExporter): SpanProcessor {
  if (typeof to !== "string") return new SimpleSpanProcessor(to);
  const url = `${to.replace(/\/+$/, "")}/v1/traces`;
  const exporter = new OTLPTraceExporter({ url, timeoutMillis: EXPORT_TIMEOUT_MS });
  const limits = { maxQueueSize: SPAN_QUEUE_MAX, maxExportBatchSize: SPAN_BATCH_MAX };
  return new BatchSpanProcessor(exporter, limits);
}

/** A remote parent that was not sampled usually comes from a process without an exporter (an agent, a CLI), so it
 * does not veto: the ratio decides by trace id, the same way in every service. */
function sampler(ratio: number): Sampler {
  const byTraceId = new TraceIdRatioBasedSampler(ratio);
  return new ParentBasedSampler({ root: byTraceId, remoteParentNotSampled: byTraceId });
}
