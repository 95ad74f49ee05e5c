import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { WRITE_BUFFER_BYTES, WRITE_BUFFER_MESSAGES } from "../limits.ts";
import { OutboundStream } from "./outbound.ts";
import { createPump } from "./pump.ts";

/** A transport that acknowledges a message only when told to. */
function manualSink() {
  const acknowledge: (() => void)[] = [];
  const sink = new Writable({
    objectMode: true,
    highWaterMark: 1_000,
    write: (_chunk, _encoding, done) => void acknowledge.push(done),
  });
  return { sink, acknowledge: () => acknowledge.shift()?.() };
}

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

function numbers(count: number, onClose: () => void = () => undefined) {
  let asked = 0;
  const source = (async function* () {
    try {
      for (; asked < count; asked++) yield asked;
    } finally {
      onClose();
    }
  })();
  return { source, asked: () => asked };
}

describe("a pump", () => {
  it.each([
    ["messages", 1, WRITE_BUFFER_MESSAGES],
    ["bytes", WRITE_BUFFER_BYTES / 4, 4],
  ])("asks for nothing while the limit of %s is in flight", async (_limit, size, expected) => {
    const { sink, acknowledge } = manualSink();
    const { source, asked } = numbers(100);
    const pump = createPump({
      source,
      sink: new OutboundStream(sink),
      encode: () => Buffer.alloc(size),
      onLateError: () => undefined,
    });
    const running = pump.run();
    await settle();
    expect(asked()).toBe(expected - 1);
    acknowledge();
    await settle();
    expect(asked()).toBe(expected);
    pump.stop();
    await running;
  });

  it("closes its source when it is stopped, though it waits for room", async () => {
    const closed: string[] = [];
    const { sink } = manualSink();
    const { source } = numbers(100, () => closed.push("closed"));
    const pump = createPump({
      source,
      sink: new OutboundStream(sink),
      encode: () => Buffer.alloc(WRITE_BUFFER_BYTES),
      onLateError: () => undefined,
    });
    const running = pump.run();
    await settle();
    pump.stop();
    await running;
    expect(closed).toEqual(["closed"]);
  });

  it("closes its source and fails when a value cannot be encoded", async () => {
    const closed: string[] = [];
    const { sink } = manualSink();
    const { source } = numbers(100, () => closed.push("closed"));
    const pump = createPump({
      source,
      sink: new OutboundStream(sink),
      encode: () => {
        throw new TypeError("not encodable");
      },
      onLateError: () => undefined,
    });
    await expect(pump.run()).rejects.toThrow("not encodable");
    expect(closed).toEqual(["closed"]);
  });

  it("reports what the source throws while it closes", async () => {
    const late: unknown[] = [];
    const { sink } = manualSink();
    const { source } = numbers(100, () => {
      throw new Error("in finally");
    });
    const pump = createPump({
      source,
      sink: new OutboundStream(sink),
      encode: () => Buffer.alloc(WRITE_BUFFER_BYTES),
      onLateError: (error) => void late.push(error),
    });
    const running = pump.run().catch(() => undefined);
    await settle();
    pump.stop();
    await running;
    expect(late).toEqual([new Error("in finally")]);
  });
});
