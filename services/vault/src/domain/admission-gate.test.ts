import { describe, expect, it } from "vitest";
import { AdmissionGate } from "./admission-gate.ts";

function setup(queueMax = 2) {
  let nowMs = 0;
  const gate = new AdmissionGate({ concurrency: 2, queueMax, expectedMs: 100, nowMs: () => nowMs });
  const started: string[] = [];
  const finish = new Map<string, () => void>();
  const work = (name: string, signal?: AbortSignal) =>
    gate.run(() => {
      started.push(name);
      return new Promise<string>((resolve) => finish.set(name, () => resolve(name)));
    }, signal);
  const advance = (ms: number) => {
    nowMs += ms;
  };
  /** Lets the work end as soon as it has begun. */
  const end = async (name: string) => {
    while (!finish.has(name)) await new Promise((resolve) => setImmediate(resolve));
    finish.get(name)?.();
  };
  return { gate, work, started, end, advance };
}

describe("AdmissionGate", () => {
  it("runs two, queues two in order and refuses the fifth at once", async () => {
    const { gate, work, started, end, advance } = setup();
    const running = ["a", "b", "c", "d"].map((name) => work(name));
    await expect(work("e")).rejects.toMatchObject({
      kind: "exhausted",
      reason: "LOGIN_BUSY",
      details: { retryAfterMs: 100 },
    });
    expect(started).toEqual(["a", "b"]);
    expect([gate.running, gate.queued]).toEqual([2, 2]);
    advance(50);
    await end("b");
    await end("c");
    expect(started).toEqual(["a", "b", "c"]);
    await end("a");
    await end("d");
    expect(await Promise.all(running)).toEqual(["a", "b", "c", "d"]);
    expect(started).toEqual(["a", "b", "c", "d"]);
    expect([gate.running, gate.queued]).toEqual([0, 0]);
  });

  it("frees the place of a caller that leaves the queue", async () => {
    const { gate, work, started, end } = setup(1);
    const running = [work("a"), work("b")];
    const leaving = new AbortController();
    const queued = work("c", leaving.signal);
    leaving.abort();
    await expect(queued).rejects.toThrow();
    const next = work("d");
    await end("a");
    await end("d");
    await next;
    await end("b");
    await Promise.all(running);
    expect(started).toEqual(["a", "b", "d"]);
    expect([gate.running, gate.queued]).toEqual([0, 0]);
  });

  it("refuses a caller that left before it came", async () => {
    const { gate, work, end } = setup();
    const running = [work("a"), work("b")];
    await expect(work("c", AbortSignal.abort())).rejects.toThrow();
    expect(gate.queued).toBe(0);
    for (const name of ["a", "b"]) await end(name);
    await Promise.all(running);
  });

  it("passes a failure on and frees the place", async () => {
    const { gate } = setup();
    await expect(gate.run(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(gate.running).toBe(0);
  });
});
