import { describe, expect, it } from "vitest";
import { Breaker, type BreakerState, DEFAULT_BREAKER, type Verdict } from "./breaker.ts";

const OPEN_MS = DEFAULT_BREAKER.openMs;

function feed(breaker: Breaker, verdicts: readonly Verdict[], nowMs = 0): void {
  for (const verdict of verdicts) breaker.onOutcome(verdict, nowMs);
}

function opened(): Breaker {
  const breaker = new Breaker();
  feed(
    breaker,
    Array.from({ length: 5 }, () => "FAILURE"),
  );
  return breaker;
}

function halfOpen(): Breaker {
  const breaker = opened();
  breaker.onAssigned(OPEN_MS);
  return breaker;
}

/** Every state x verdict cell; half-open with its probe in flight, at the moment the open time is over. */
const CELLS: readonly [BreakerState, Verdict, BreakerState][] = [
  ["CLOSED", "SUCCESS", "CLOSED"],
  ["CLOSED", "FAILURE", "CLOSED"],
  ["CLOSED", "NEUTRAL", "CLOSED"],
  ["OPEN", "SUCCESS", "OPEN"],
  ["OPEN", "FAILURE", "OPEN"],
  ["OPEN", "NEUTRAL", "OPEN"],
  ["HALF_OPEN", "SUCCESS", "CLOSED"],
  ["HALF_OPEN", "FAILURE", "OPEN"],
  ["HALF_OPEN", "NEUTRAL", "HALF_OPEN"],
];

describe("Breaker", () => {
  for (const [from, verdict, to] of CELLS) {
    it(`${from} on ${verdict} gives ${to}`, () => {
      const made = { CLOSED: () => new Breaker(), OPEN: opened, HALF_OPEN: halfOpen }[from]();
      const nowMs = from === "HALF_OPEN" ? OPEN_MS : 1;
      expect(made.stateAt(nowMs)).toBe(from);
      made.onOutcome(verdict, nowMs);
      expect(made.stateAt(nowMs)).toBe(to);
    });
  }

  it("opens after five failures in a row and lets nothing through", () => {
    const breaker = opened();
    expect(breaker.stateAt(0)).toBe("OPEN");
    expect(breaker.admits(OPEN_MS - 1)).toBe(false);
    expect(breaker.probeAtMs).toBe(OPEN_MS);
  });

  it("a success between failures starts the count again", () => {
    const breaker = new Breaker();
    feed(breaker, ["FAILURE", "FAILURE", "FAILURE", "FAILURE", "SUCCESS", "FAILURE"]);
    expect(breaker.stateAt(0)).toBe("CLOSED");
  });

  it("opens when half of a full window failed, though never five in a row", () => {
    const breaker = new Breaker();
    for (let i = 0; i < 9; i++) feed(breaker, ["SUCCESS", "FAILURE"]);
    expect(breaker.stateAt(0)).toBe("CLOSED");
    feed(breaker, ["SUCCESS", "FAILURE"]);
    expect(breaker.stateAt(0)).toBe("OPEN");
  });

  it("lets one probe through when half open", () => {
    const breaker = opened();
    expect(breaker.admits(OPEN_MS)).toBe(true);
    breaker.onAssigned(OPEN_MS);
    expect(breaker.admits(OPEN_MS)).toBe(false);
  });

  it("probes again when the probe said nothing about the agent", () => {
    const breaker = halfOpen();
    breaker.onOutcome("NEUTRAL", OPEN_MS);
    expect(breaker.admits(OPEN_MS)).toBe(true);
  });

  it("stays open twice as long after a failed probe, up to the limit", () => {
    const breaker = opened();
    let nowMs = 0;
    let expectedMs = OPEN_MS;
    for (let i = 0; i < 10; i++) {
      nowMs = breaker.probeAtMs ?? 0;
      breaker.onAssigned(nowMs);
      breaker.onOutcome("FAILURE", nowMs);
      expectedMs = Math.min(expectedMs * 2, DEFAULT_BREAKER.openMaxMs);
      expect((breaker.probeAtMs ?? 0) - nowMs).toBe(expectedMs);
    }
  });
});
