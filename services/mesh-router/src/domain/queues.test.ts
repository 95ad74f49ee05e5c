import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fifo } from "./fifo.ts";
import * as limits from "./limits.ts";
import { DeadlineWheel, Expiring } from "./message/deadline-wheel.ts";

describe("Fifo", () => {
  it("behaves like an array that is shifted", () => {
    const steps = fc.array(fc.oneof(fc.nat(), fc.constant("shift" as const)), { maxLength: 5_000 });
    fc.assert(
      fc.property(steps, (operations) => {
        const fifo = new Fifo<number>();
        const model: number[] = [];
        for (const operation of operations) {
          if (operation === "shift") expect(fifo.shift()).toBe(model.shift());
          else {
            fifo.push(operation);
            model.push(operation);
          }
          expect(fifo.length).toBe(model.length);
          expect(fifo.peek()).toBe(model[0]);
        }
      }),
      { numRuns: 20 },
    );
  });

  it("removes what matches and keeps the order of the rest", () => {
    const fifo = new Fifo<number>();
    for (let i = 0; i < 10; i += 1) fifo.push(i);
    fifo.shift();
    expect(fifo.remove((n) => n % 2 === 0)).toEqual([2, 4, 6, 8]);
    expect([fifo.shift(), fifo.shift(), fifo.length]).toEqual([1, 3, 3]);
  });

  it("keeps its order over many pushes and shifts", () => {
    const fifo = new Fifo<number>();
    let next = 0;
    for (let i = 0; i < 10_000; i += 1) {
      fifo.push(i);
      if (i % 3 > 0) expect(fifo.shift()).toBe(next++);
    }
  });
});

class Item extends Expiring {
  readonly expiresAtMs: number;

  constructor(expiresAtMs: number) {
    super();
    this.expiresAtMs = expiresAtMs;
  }
}

describe("DeadlineWheel", () => {
  it("expires everything exactly when its time has come", () => {
    const items = fc.array(fc.record({ inMs: fc.nat(120_000), removed: fc.boolean() }));
    const steps = fc.array(fc.nat(50_000), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(items, steps, (specs, advances) => {
        const startMs = 1_700_000_000_000;
        const wheel = new DeadlineWheel<Item>(startMs);
        const live = new Set<Item>();
        for (const { inMs, removed } of specs) {
          const item = new Item(startMs + inMs);
          wheel.add(item);
          if (removed) wheel.delete(item);
          else live.add(item);
        }
        let nowMs = startMs;
        for (const advance of advances) {
          nowMs += advance;
          for (const item of wheel.expire(nowMs)) {
            expect(live.delete(item)).toBe(true);
            expect(item.expiresAtMs).toBeLessThanOrEqual(nowMs);
          }
          for (const item of live) expect(item.expiresAtMs).toBeGreaterThan(nowMs);
          expect(wheel.size).toBe(live.size);
        }
      }),
      { numRuns: 50 },
    );
  });

  it("forgets an item twice without harm", () => {
    const wheel = new DeadlineWheel<Item>(0);
    const item = new Item(5);
    wheel.add(item);
    wheel.delete(item);
    wheel.delete(item);
    expect(wheel.size).toBe(0);
    expect(wheel.expire(100)).toEqual([]);
  });

  it("holds an item once, and again after it was forgotten", () => {
    const wheel = new DeadlineWheel<Item>(0);
    const [first, second] = [new Item(5), new Item(5)];
    for (const item of [first, second, first]) wheel.add(item);
    expect(wheel.size).toBe(2);
    wheel.delete(first);
    wheel.add(first);
    const due = wheel.expire(100);
    expect(due.map((item) => item === first)).toEqual([false, true]);
    expect(wheel.size).toBe(0);
  });

  it("expires at once what was late when it came", () => {
    const wheel = new DeadlineWheel<Item>(0);
    wheel.expire(1_000_000);
    const late = new Item(3);
    wheel.add(late);
    expect(wheel.expire(1_000_000)[0]).toBe(late);
  });
});

describe("limits", () => {
  it("are the numbers of the design", () => {
    expect(limits).toMatchObject({
      SESSIONS_MAX: 20_000,
      FRAME_ITEMS_MAX: 512,
      FRAME_ITEMS_SENT: 256,
      FRAME_BYTES_MAX: 1_048_576,
      MESSAGE_QUEUE_MAX: 1_000,
      PENDING_MESSAGES_MAX: 100_000,
      PENDING_BYTES_MAX: 67_108_864,
      OUTBOX_BYTES_MAX: 16_777_216,
      DISPATCH_QUEUE_BYTES_MAX: 33_554_432,
      MESSAGE_CREDIT_MAX: 10_000,
      PRESENCE_BATCH_MAX: 512,
      RESUME_TOKEN_BYTES: 32,
    });
  });
});
