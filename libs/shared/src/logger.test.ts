import { context, TraceFlags, trace } from "@opentelemetry/api";
import { describe, expect, it } from "vitest";
import { createLogger, createSilentLogger } from "./logger.ts";
import { REDACTED, SECRET_FIELDS } from "./redact.ts";

function capture(level?: "debug" | "info") {
  const lines: Record<string, unknown>[] = [];
  const destination = {
    write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>),
  };
  const logger = createLogger({ service: "test", destination, ...(level ? { level } : {}) });
  return { logger, lines };
}

describe("createLogger", () => {
  it("writes JSON lines with time, level name, service and message", () => {
    const { logger, lines } = capture();
    logger.info({ jobId: "j" }, "hello");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: "info", service: "test", jobId: "j", msg: "hello" });
    expect(lines[0]?.["time"]).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
  });

  it("leaves out lines below its level, which can change while it runs", () => {
    const { logger, lines } = capture();
    logger.debug("hidden");
    logger.level = "debug";
    logger.debug("shown");
    expect(lines.map((line) => line["msg"])).toEqual(["shown"]);
  });

  it("redacts every secret field down to three levels", () => {
    const { logger, lines } = capture();
    for (const field of SECRET_FIELDS) {
      const secret = { [field]: "hunter2", plain: "shown" };
      logger.info({ ...secret, a: { ...secret, b: { ...secret, c: secret } } }, "line");
    }
    expect(JSON.stringify(lines)).not.toContain("hunter2");
    expect(lines[0]).toMatchObject({
      password: REDACTED,
      a: {
        password: REDACTED,
        b: { password: REDACTED, c: { password: REDACTED, plain: "shown" } },
      },
    });
  });

  it("redacts the bindings of children", () => {
    const { logger, lines } = capture();
    const secrets = { token: "hunter2", request: { authorization: "Bearer hunter2" } };
    const child = logger.child(secrets);
    child.info("line");
    child.child(secrets, { level: "debug" }).debug("line");
    expect(lines).toHaveLength(2);
    expect(JSON.stringify(lines)).not.toContain("hunter2");
  });

  it("writes errors with their causes", () => {
    const { logger, lines } = capture();
    logger.error({ err: new Error("above", { cause: new Error("below") }) }, "failed");
    expect(JSON.stringify(lines[0])).toContain("above");
    expect(JSON.stringify(lines[0])).toContain("below");
  });

  it("redacts the fields of errors", () => {
    const { logger, lines } = capture();
    logger.error({ err: Object.assign(new Error("failed"), { token: "hunter2" }) }, "failed");
    logger.error(Object.assign(new Error("failed"), { token: "hunter2" }));
    expect(lines).toHaveLength(2);
    expect(JSON.stringify(lines)).not.toContain("hunter2");
  });

  it("carries no trace ids without a span", () => {
    const { logger, lines } = capture();
    logger.info("line");
    expect(lines[0]).not.toHaveProperty("trace_id");
  });

  it("carries the ids of the active span", () => {
    const { logger, lines } = capture();
    const spanContext = {
      traceId: "0af7651916cd43dd8448eb211c80319c",
      spanId: "b7ad6b7169203331",
      traceFlags: TraceFlags.SAMPLED,
    };
    const active = trace.setSpanContext(context.active(), spanContext);
    const manager = {
      active: () => active,
      with: <A extends unknown[], F extends (...args: A) => ReturnType<F>>(
        _context: unknown,
        fn: F,
        _self?: unknown,
        ...args: A
      ) => fn(...args),
      bind: <T>(_context: unknown, target: T) => target,
      enable: () => manager,
      disable: () => manager,
    };
    context.setGlobalContextManager(manager);
    try {
      logger.info("line");
    } finally {
      context.disable();
    }
    expect(lines[0]).toMatchObject({ trace_id: spanContext.traceId, span_id: spanContext.spanId });
  });
});

describe("createSilentLogger", () => {
  it("is not enabled for any level", () => {
    expect(createSilentLogger().isLevelEnabled("fatal")).toBe(false);
  });
});
