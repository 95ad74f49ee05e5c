export {
  COUNT_BUCKETS,
  type CounterMetric,
  createMetrics,
  type GaugeMetric,
  type GaugeSpec,
  type HistogramMetric,
  type HistogramSpec,
  LABEL_SETS_MAX,
  LATENCY_BUCKETS_SECONDS,
  type Labels,
  type MetricSpec,
  type Metrics,
  OVERFLOW_LABEL,
} from "./metrics.ts";
export {
  type OpsServer,
  type OpsServerOptions,
  type OpsTls,
  READY_TIMEOUT_MS,
  type Readiness,
  startOpsServer,
} from "./ops-server.ts";
export { initTracing, type Tracing, type TracingOptions, tracer } from "./tracing.ts";
