import { create } from "@bufbuild/protobuf";
import { AssignmentSchema } from "@nexus/proto/mesh";
import { ROOT_CONTEXT, SpanStatusCode, type Tracer, trace } from "@opentelemetry/api";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inTaskSpan } from "./trace.ts";

const assignment = create(AssignmentSchema, { taskId: "t", capability: "work" });
let said: string[];

/** Writes down what becomes of spans. */
function registerTracing(): void {
  const nothing = trace.wrapSpanContext({ traceId: "", spanId: "", traceFlags: 0 });
  const startSpan = (name: string) => {
    said.push(`start ${name}`);
    return Object.assign(Object.create(nothing), {
      end: () => said.push("end"),
      setStatus: ({ code }: { code: SpanStatusCode }) => said.push(SpanStatusCode[code]),
    });
  };
  trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan }) as unknown as Tracer });
}

beforeEach(() => {
  said = [];
});
afterEach(() => trace.disable());

describe("inTaskSpan", () => {
  it("ends the span of work that returns at once, with its result", () => {
    registerTracing();
    expect(inTaskSpan(assignment, () => 1)).toBe(1);
    expect(said).toEqual(["start task work", "end"]);
  });

  it("ends the span of work that is waited for with its promise", async () => {
    registerTracing();
    const running = inTaskSpan(assignment, () => Promise.resolve(1));
    expect(said).toEqual(["start task work"]);
    expect(await running).toBe(1);
    expect(said).toEqual(["start task work", "end"]);
  });

  it("marks the span of work that fails, at once or later", async () => {
    registerTracing();
    const error = new Error("no");
    const fail = () => {
      throw error;
    };
    expect(() => inTaskSpan(assignment, fail)).toThrow(error);
    await expect(inTaskSpan(assignment, () => Promise.reject(error))).rejects.toThrow(error);
    expect(said).toEqual(["start task work", "ERROR", "end", "start task work", "ERROR", "end"]);
  });

  it("runs work without a span where nothing is traced", () => {
    expect(inTaskSpan(assignment, () => trace.getSpan(ROOT_CONTEXT))).toBeUndefined();
    expect(said).toEqual([]);
  });
});
