import { AuthService } from "@nexus/proto/vault";
import { initTracing, type Tracing, type TracingOptions, tracer } from "@nexus/telemetry";
import { type Context, ROOT_CONTEXT, type Span, SpanKind, trace } from "@opentelemetry/api";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CallContext, callOptions, createRpcClient } from "../src/index.ts";
import { authHandlers } from "./_handlers.ts";
import { startRig } from "./_harness.ts";
import { until } from "./_wait.ts";

type Exporter = NonNullable<TracingOptions["exporter"]>;
type ReadableSpan = Parameters<Exporter["export"]>[0][number];

const CREDENTIALS = { principalId: "ann", password: "pw" };
const spans: ReadableSpan[] = [];
/** ExportResultCode.SUCCESS, without a dependency on the package that names it. */
const EXPORTED = JSON.parse('{"code":0}');
let tracing: Tracing;

beforeAll(async () => {
  const exporter: Exporter = {
    export: (batch, done) => {
      spans.push(...batch);
      done(EXPORTED);
    },
    shutdown: () => Promise.resolve(),
  };
  tracing = await initTracing({ service: "test", exporter });
});

afterAll(() => tracing.shutdown());

async function inSpan<T>(
  name: string,
  fn: (traceContext: Context) => Promise<T>,
): Promise<{ traceId: string; value: T }> {
  const span: Span = tracer().startSpan(name);
  const value = await fn(trace.setSpan(ROOT_CONTEXT, span));
  span.end();
  return { traceId: span.spanContext().traceId, value };
}

function traceIdOf({ traceContext }: CallContext): string {
  return trace.getSpanContext(traceContext)?.traceId ?? "none";
}

describe("trace context", () => {
  it("crosses hops: client span, server span, client span, server span", async () => {
    const inner = await startRig((server) =>
      server.add(
        AuthService,
        authHandlers({
          login: async (_request, ctx) => ({ tokens: { accessToken: traceIdOf(ctx) } }),
        }),
      ),
    );
    const outer = await startRig((server) =>
      server.add(
        AuthService,
        authHandlers({
          login: (request, ctx) =>
            createRpcClient(AuthService, inner.channel).login(request, callOptions(ctx)),
        }),
      ),
    );
    spans.length = 0;
    const { traceId, value } = await inSpan("root", (traceContext) =>
      createRpcClient(AuthService, outer.channel).login(CREDENTIALS, { traceContext }),
    );
    expect(value.tokens?.accessToken).toBe(traceId);
    await until("five spans", () => spans.length >= 5);
    const ours = spans.filter((span) => span.spanContext().traceId === traceId);
    const byId = new Map(ours.map((span) => [span.spanContext().spanId, span]));
    const leaf = ours.find(
      (span) =>
        ![...ours].some((other) => other.parentSpanContext?.spanId === span.spanContext().spanId),
    );
    const chain: number[] = [];
    for (
      let span = leaf;
      span !== undefined;
      span = byId.get(span.parentSpanContext?.spanId ?? "")
    ) {
      chain.push(span.kind);
    }
    // From the innermost outwards.
    expect(chain).toEqual([
      SpanKind.SERVER,
      SpanKind.CLIENT,
      SpanKind.SERVER,
      SpanKind.CLIENT,
      SpanKind.INTERNAL,
    ]);
    await outer.close();
    await inner.close();
  });

  it("reaches every step of an async generator and its finally", async () => {
    const seen: string[] = [];
    const rig = await startRig((server) =>
      server.add(
        AuthService,
        authHandlers({
          async *watchRevocations(_request, ctx) {
            try {
              for (let i = 0n; i < 50n; i++) {
                seen.push(traceIdOf(ctx));
                yield { revision: i };
                await new Promise((resolve) => setImmediate(resolve));
              }
            } finally {
              seen.push(traceIdOf(ctx));
            }
          },
        }),
      ),
    );
    const token = rig.verifier.token("ann");
    const { traceId } = await inSpan("root", async (traceContext) => {
      for await (const { revision } of createRpcClient(AuthService, rig.channel).watchRevocations(
        {},
        { token, traceContext },
      )) {
        if (revision === 5n) break;
      }
    });
    await until("the generator's finally", () => seen.length > 6 && seen.at(-1) === seen[0]);
    expect(new Set(seen)).toEqual(new Set([traceId]));
    await rig.close();
  });

  it("marks spans of our own faults only", async () => {
    const rig = await startRig((server) =>
      server.add(
        AuthService,
        authHandlers({
          login() {
            throw new Error("boom");
          },
        }),
      ),
    );
    spans.length = 0;
    const client = createRpcClient(AuthService, rig.channel);
    await client.login(CREDENTIALS).catch(() => undefined);
    await client.login({ principalId: "", password: "" }).catch(() => undefined);
    await until(
      "two server spans",
      () => spans.filter(({ kind }) => kind === SpanKind.SERVER).length === 2,
    );
    const outcomes = spans
      .filter(({ kind }) => kind === SpanKind.SERVER)
      .map(({ status, attributes }) => [status.code, attributes["nexus.error.reason"]]);
    expect(outcomes).toEqual([
      [2, "INTERNAL"],
      [0, "REQUEST_INVALID"],
    ]);
    await rig.close();
  });
});
