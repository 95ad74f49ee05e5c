import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bucketOf, type RolledAttempt, type RolledMinute, rollUp, WIDTH_MS } from "./rollup.ts";
import { planWindow } from "./window-plan.ts";

const NOON_MS = Date.UTC(2026, 10, 22, 12, 34, 56, 789);

function minute(
  changes: Partial<RolledAttempt["kind"]> = {},
  { namespace = "default", minuteMs = bucketOf("minute", NOON_MS) }: Partial<RolledMinute> = {},
): RolledMinute {
  const kind = { agentId: "a", capability: "text.analyse", success: true, reason: "", ...changes };
  const attempt = { kind, queueUs: 10, runUs: 1_000 };
  return { namespace, minuteMs, attempts: [attempt] };
}

describe("rollUp", () => {
  it("adds an attempt to three groupings of each width", () => {
    const deltas = rollUp([minute()]);
    expect(deltas.map(({ key }) => [key.width, key.agentId, key.capability])).toEqual(
      ["minute", "hour", "day"].flatMap((width) => [
        [width, "a", "text.analyse"],
        [width, "a", ""],
        [width, "", "text.analyse"],
      ]),
    );
    expect(deltas.map(({ key }) => new Date(key.bucketMs).toISOString().slice(11, 16))).toEqual([
      ...Array(3).fill("12:34"),
      ...Array(3).fill("12:00"),
      ...Array(3).fill("00:00"),
    ]);
  });

  it("adds attempts that share a rollup to one", () => {
    const deltas = rollUp([
      minute(),
      minute(
        { success: false, reason: "AGENT_ERROR" },
        { minuteMs: bucketOf("minute", NOON_MS + 60_000) },
      ),
      minute({ agentId: "b" }),
    ]);
    const attempts = (width: string, agentId: string, capability: string) =>
      deltas
        .filter(({ key }) => key.width === width)
        .filter(({ key }) => key.agentId === agentId && key.capability === capability)
        .map(({ tally }) => tally.attempts);
    expect(attempts("minute", "a", "")).toEqual([1, 1]);
    expect(attempts("hour", "a", "")).toEqual([2]);
    expect(attempts("day", "", "text.analyse")).toEqual([3]);
  });

  it("keeps namespaces apart", () => {
    expect(rollUp([minute(), minute({}, { namespace: "other" })])).toHaveLength(18);
  });
});

describe("planWindow", () => {
  it("tiles everything since a moment, in few pieces", () => {
    const moments = fc.integer({ min: NOON_MS - 30 * WIDTH_MS.day, max: NOON_MS });
    fc.assert(
      fc.property(moments, (fromMs) => {
        const { firstMinuteMs, stretches } = planWindow(fromMs);
        expect(firstMinuteMs - fromMs).toBeLessThan(WIDTH_MS.minute);
        let end: number | undefined = firstMinuteMs;
        for (const { width, fromMs: begin, toMs } of stretches) {
          expect(begin).toBe(end);
          expect(begin).toBe(bucketOf(width, begin));
          end = toMs;
        }
        expect(end).toBeUndefined();
        const [minutes, hours] = stretches;
        expect((minutes!.toMs! - minutes!.fromMs) / WIDTH_MS.minute).toBeLessThan(60);
        expect((hours!.toMs! - hours!.fromMs) / WIDTH_MS.hour).toBeLessThan(24);
      }),
    );
  });

  it("counts no sample singly when the window begins with a minute", () => {
    const midnight = Date.UTC(2026, 10, 1);
    expect(planWindow(midnight)).toEqual({
      fromMs: midnight,
      firstMinuteMs: midnight,
      stretches: [
        { width: "minute", fromMs: midnight, toMs: midnight },
        { width: "hour", fromMs: midnight, toMs: midnight },
        { width: "day", fromMs: midnight, toMs: undefined },
      ],
    });
  });
});
