import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** Values for the labels of one observation. */
export type Labels<L extends string> = Readonly<Record<L, string | number>>;

/** A number that only grows. */
export interface CounterMetric<L extends string> {
  inc(labels: Labels<L>, value?: number): void;
  /** For a counter without labels. */
  inc(value?: number): void;
}

/** A number that goes up and down. */
export interface GaugeMetric<L extends string> {
  set(labels: Labels<L>, value: number): void;
  set(value: number): void;
  inc(labels: Labels<L>, value?: number): void;
  inc(value?: number): void;
  dec(labels: Labels<L>, value?: number): void;
  dec(value?: number): void;
  /** Forgets one label set, e.g. of a peer that left. */
  remove(labels: Labels<L>): void;
}

/** A distribution in buckets. */
export interface HistogramMetric<L extends string> {
  observe(labels: Labels<L>, value: number): void;
  observe(value: number): void;
  /** Starts a measurement in seconds; the returned function ends and records it. */
  startTimer(labels?: Labels<L>): (more?: Partial<Labels<L>>) => number;
}

/** What every metric needs. */
export interface MetricSpec<L extends string> {
  /** snake_case without the prefix `nexus_<service>_`; ends with its unit: `_total`, `_seconds`, `_bytes`. */
  readonly name: string;
  readonly help: string;
  /** Label names. Values must come from a small closed set: never an id, a path or a message. */
  readonly labels?: readonly L[];
  /** Named `nexus_<name>`, without the service: for what is the same in each of them, so that one rule watches all. */
  readonly shared?: true;
}

/** A gauge may be read at scrape time instead of being set. */
export interface GaugeSpec<L extends string> extends MetricSpec<L> {
  /** Called at each scrape; returns the current value. For gauges without labels. */
  readonly read?: () => number;
}

/** A histogram may have its own buckets. */
export interface HistogramSpec<L extends string> extends MetricSpec<L> {
  /** Upper bounds, rising; default LATENCY_BUCKETS_SECONDS. */
  readonly buckets?: readonly number[];
}

/** All metrics of one service in one registry. */
export interface Metrics {
  readonly service: string;
  /** For what this interface does not cover; its content is part of text(). */
  readonly registry: Registry;
  /** Creates a metric, or returns the one of that name; another type or other labels under the same name throw. */
  counter<L extends string = never>(spec: MetricSpec<L>): CounterMetric<L>;
  gauge<L extends string = never>(spec: GaugeSpec<L>): GaugeMetric<L>;
  histogram<L extends string = never>(spec: HistogramSpec<L>): HistogramMetric<L>;
  /** Renders all metrics of the service and of the process in the Prometheus text format. */
  text(): Promise<string>;
}

/** Buckets for calls of 0.5 ms to 30 s. */
export const LATENCY_BUCKETS_SECONDS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

/** Buckets for batches and queues, powers of two up to 4 096. */
export const COUNT_BUCKETS: readonly number[] = [
  1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096,
];

/** Most label sets per metric: beyond it a label is not from a small closed set, and further sets are counted
 * together with every label value `other`, so a mistake costs precision and not memory. */
export const LABEL_SETS_MAX = 500;

const SHARED_PREFIX = "nexus_";

/** The label value under which sets beyond LABEL_SETS_MAX are counted. */
export const OVERFLOW_LABEL = "other";

/** How often a timer looks how late the event loop is: prom-client's 10 ms wake every process a hundred times a second, loaded or not. */
const LOOP_LAG_RESOLUTION_MS = 100;

/** Process metrics (CPU, memory, event loop, GC) exist once per process, however many services run in it:
 * their observers cost CPU each (prom-client issues 490 and 523). */
let processRegistry: Registry | undefined;

function processMetrics(): Registry {
  if (processRegistry === undefined) {
    processRegistry = new Registry();
    collectDefaultMetrics({
      register: processRegistry,
      eventLoopMonitoringPrecision: LOOP_LAG_RESOLUTION_MS,
    });
  }
  return processRegistry;
}

/** Returns a function that lets the first LABEL_SETS_MAX label sets pass and folds all others into one. */
function createLabelGuard<L extends string>(names: readonly L[]): (labels: Labels<L>) => Labels<L> {
  const seen = new Set<string>();
  const overflow = Object.fromEntries(names.map((name) => [name, OVERFLOW_LABEL])) as Labels<L>;
  return (labels) => {
    let key = "";
    for (const name of names) key += `${labels[name]}\u0000`;
    if (seen.has(key)) return labels;
    if (seen.size >= LABEL_SETS_MAX) return overflow;
    seen.add(key);
    return labels;
  };
}

type Guard<L extends string> = (labels: Labels<L>) => Labels<L>;

function wrapCounter<L extends string>(counter: Counter<L>, guard: Guard<L>): CounterMetric<L> {
  return {
    inc(first?: Labels<L> | number, value?: number) {
      if (typeof first === "object") counter.inc(guard(first), value);
      else counter.inc(first);
    },
  };
}

function wrapGauge<L extends string>(gauge: Gauge<L>, guard: Guard<L>): GaugeMetric<L> {
  return {
    set(first: Labels<L> | number, value?: number) {
      if (typeof first === "object") gauge.set(guard(first), value ?? 0);
      else gauge.set(first);
    },
    inc(first?: Labels<L> | number, value?: number) {
      if (typeof first === "object") gauge.inc(guard(first), value);
      else gauge.inc(first);
    },
    dec(first?: Labels<L> | number, value?: number) {
      if (typeof first === "object") gauge.dec(guard(first), value);
      else gauge.dec(first);
    },
    remove: (labels) => gauge.remove(labels),
  };
}

function wrapHistogram<L extends string>(
  histogram: Histogram<L>,
  guard: Guard<L>,
): HistogramMetric<L> {
  const record = (first: Labels<L> | number, value?: number) => {
    if (typeof first === "object") histogram.observe(guard(first), value ?? 0);
    else histogram.observe(first);
  };
  return {
    observe: record,
    startTimer(labels) {
      const startedAtMs = performance.now();
      return (more) => {
        const seconds = (performance.now() - startedAtMs) / 1000;
        if (labels === undefined && more === undefined) record(seconds);
        else record({ ...labels, ...more } as Labels<L>, seconds);
        return seconds;
      };
    },
  };
}

interface Known {
  readonly type: "counter" | "gauge" | "histogram";
  readonly labels: string;
  readonly metric: unknown;
}

/** Creates the metrics of one service, named `nexus_<service>_<name>`; a `-` in the service becomes `_`. */
export function createMetrics(service: string): Metrics {
  const registry = new Registry();
  const prefix = `nexus_${service.replaceAll("-", "_")}_`;
  const known = new Map<string, Known>();

  function once<M>(type: Known["type"], spec: MetricSpec<string>, make: () => M): M {
    const labels = (spec.labels ?? []).join(",");
    const existing = known.get(spec.name);
    if (existing === undefined) {
      const metric = make();
      known.set(spec.name, { type, labels, metric });
      return metric;
    }
    if (existing.type !== type || existing.labels !== labels) {
      throw new Error(`Metric ${spec.name} exists as a ${existing.type} of [${existing.labels}].`);
    }
    return existing.metric as M;
  }

  function settings<L extends string>(spec: MetricSpec<L>) {
    return {
      name: (spec.shared === true ? SHARED_PREFIX : prefix) + spec.name,
      help: spec.help,
      labelNames: [...(spec.labels ?? [])],
      registers: [registry],
    };
  }

  processMetrics();
  return {
    service,
    registry,
    counter: (spec) =>
      once("counter", spec, () =>
        wrapCounter(new Counter(settings(spec)), createLabelGuard(spec.labels ?? [])),
      ),
    gauge: (spec) =>
      once("gauge", spec, () => {
        const { read } = spec;
        const gauge: Gauge = new Gauge({
          ...settings(spec),
          ...(read === undefined ? {} : { collect: (): void => gauge.set(read()) }),
        });
        return wrapGauge(gauge, createLabelGuard(spec.labels ?? []));
      }),
    histogram: (spec) =>
      once("histogram", spec, () => {
        const buckets = [...(spec.buckets ?? LATENCY_BUCKETS_SECONDS)];
        const histogram = new Histogram({ ...settings(spec), buckets });
        return wrapHistogram(histogram, createLabelGuard(spec.labels ?? []));
      }),
    text: async () => `${await registry.metrics()}\n${await processMetrics().metrics()}`,
  };
}
