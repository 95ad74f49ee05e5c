import {
  context,
  propagation,
  ROOT_CONTEXT,
  SpanStatusCode,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { InMemorySpanExporter } from "@opentelemetry/sdk-trace-node";
import { afterEach, describe, expect, it } from "vitest";
import { initTracing, type Tracing, type TracingOptions, tracer } from "./tracing.ts";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID = "b7ad6b7169203331";

let running: Tracing | undefined;

async function setUp(options: Partial<TracingOptions> = {}) {
  const exporter = new InMemorySpanExporter();
  running = await initTracing({ service: "test", exporter, ...options });
  return { tracing: running, exporter };
}

function extract(traceparent: string) {
  return propagation.extract(context.active(), { traceparent });
}

function newContext() {
  return tracer().startSpan("work").spanContext();
}

describe("initTracing", () => {
  afterEach(async () => {
    await running?.shutdown();
    running = undefined;
  });

  it("exports ended spans under the service's name", async () => {
    const { exporter, tracing } = await setUp();
    tracer().startActiveSpan("work", (span) => {
      span.setStatus({ code: SpanStatusCode.OK });
      span.end();
    });
    const [span] = exporter.getFinishedSpans();
    expect(tracing.exporting).toBe(true);
    expect(span?.name).toBe("work");
    expect(span?.resource.attributes).toMatchObject({
      "service.name": "nexus-test",
      "service.namespace": "nexus",
    });
  });

  it("keeps no ambient context: a child is given its parent", async () => {
    const { exporter } = await setUp();
    const span = tracer().startSpan("parent");
    const inSpan = trace.setSpan(ROOT_CONTEXT, span);
    context.with(inSpan, () => expect(trace.getActiveSpan()).toBeUndefined());
    tracer().startSpan("child", {}, inSpan).end();
    span.end();
    const child = exporter.getFinishedSpans().find(({ name }) => name === "child");
    expect(child?.parentSpanContext?.spanId).toBe(span.spanContext().spanId);
  });

  it("reads and writes W3C trace context", async () => {
    await setUp();
    const remote = extract(`00-${TRACE_ID}-${PARENT_ID}-01`);
    const span = tracer().startSpan("work", {}, remote);
    expect(span.spanContext().traceId).toBe(TRACE_ID);
    const carrier: Record<string, string> = {};
    propagation.inject(trace.setSpan(remote, span), carrier);
    expect(carrier["traceparent"]).toBe(`00-${TRACE_ID}-${span.spanContext().spanId}-01`);
    span.end();
  });

  it("exports under a parent that was not sampled, since that process may have no exporter", async () => {
    const { exporter } = await setUp();
    tracer()
      .startSpan("work", {}, extract(`00-${TRACE_ID}-${PARENT_ID}-00`))
      .end();
    expect(exporter.getFinishedSpans()).toHaveLength(1);
  });

  it("exports nothing at ratio 0, and still hands ids on", async () => {
    const { exporter } = await setUp({ sampleRatio: 0 });
    const span = tracer().startSpan("work");
    span.end();
    expect(exporter.getFinishedSpans()).toHaveLength(0);
    expect(trace.isSpanContextValid(span.spanContext())).toBe(true);
  });

  it("makes spans that only carry ids when nothing is exported", async () => {
    running = await initTracing({ service: "test" });
    expect(running.exporting).toBe(false);
    const span = tracer().startSpan("work", {}, extract(`00-${TRACE_ID}-${PARENT_ID}-01`));
    expect(span.isRecording()).toBe(false);
    expect(span.spanContext().traceId).toBe(TRACE_ID);
    expect(span.spanContext().spanId).not.toBe(PARENT_ID);
    expect(span.spanContext().traceFlags).toBe(TraceFlags.NONE);
  });

  it("begins a trace where there is none, and follows one within the process, when nothing is exported", async () => {
    running = await initTracing({ service: "test" });
    const parent = tracer().startSpan("parent");
    expect(trace.isSpanContextValid(parent.spanContext())).toBe(true);
    const inParent = trace.setSpan(ROOT_CONTEXT, parent);
    const child = tracer().startActiveSpan("child", {}, inParent, (span) => span.spanContext());
    expect(child.traceId).toBe(parent.spanContext().traceId);
    const rooted = tracer().startSpan("rooted", { root: true }, inParent).spanContext();
    const seen = [parent.spanContext(), rooted, ...Array.from({ length: 1_000 }, newContext)];
    expect(new Set(seen.map(({ traceId }) => traceId)).size).toBe(seen.length);
    expect(new Set(seen.map(({ spanId }) => spanId)).size).toBe(seen.length);
  });

  it("hands on what others keep in the trace's state and in baggage when nothing is exported", async () => {
    running = await initTracing({ service: "test" });
    const headers = {
      traceparent: `00-${TRACE_ID}-${PARENT_ID}-01`,
      tracestate: "a=1",
      baggage: "b=2",
    };
    const remote = propagation.extract(ROOT_CONTEXT, headers);
    const carrier: Record<string, string> = {};
    propagation.inject(trace.setSpan(remote, tracer().startSpan("work", {}, remote)), carrier);
    expect(carrier).toMatchObject({ tracestate: "a=1", baggage: "b=2" });
    expect(carrier["traceparent"]).toMatch(new RegExp(`^00-${TRACE_ID}-[0-9a-f]{16}-00$`));
  });

  it("lets the first call of a process win, and the second's shutdown change nothing", async () => {
    const { exporter } = await setUp();
    const second = await initTracing({ service: "second" });
    await second.shutdown();
    tracer().startSpan("work").end();
    expect(exporter.getFinishedSpans()).toHaveLength(1);
  });

  it("can be set up again after shutdown", async () => {
    const first = await setUp();
    await first.tracing.shutdown();
    const again = await setUp();
    tracer().startSpan("work").end();
    expect(again.exporter.getFinishedSpans()).toHaveLength(1);
  });
});
