import { describe, expect, it } from "vitest";
import { Breaker, type BreakerState, DEFAULT_BREAKER, type Verdict } from "./breaker.ts";

const OPEN_MS = DEFAULT_BREAKER.openMs;

function feed(breaker: Breaker, verdicts: readonly Verdict[], nowMs = 0): void {
  for (const verdict of verdicts) breaker.onOutcome("task", verdict, nowMs);
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
  breaker.onAssigned("probe", OPEN_MS);
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
      made.onOutcome("probe", verdict, nowMs);
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
    breaker.onAssigned("probe", OPEN_MS);
    expect(breaker.admits(OPEN_MS)).toBe(false);
  });

  it("probes again when the probe said nothing about the agent", () => {
    const breaker = halfOpen();
    breaker.onOutcome("probe", "NEUTRAL", OPEN_MS);
    expect(breaker.admits(OPEN_MS)).toBe(true);
  });

  it("probes again when nobody will hear how the probe went", () => {
    const breaker = halfOpen();
    breaker.forgetProbe();
    expect(breaker.admits(OPEN_MS)).toBe(true);
    breaker.onOutcome("probe", "SUCCESS", OPEN_MS);
    expect(breaker.stateAt(OPEN_MS)).toBe("HALF_OPEN");
  });

  for (const verdict of ["SUCCESS", "FAILURE", "NEUTRAL"] as const) {
    it(`learns nothing from the ${verdict} of a task assigned before it opened`, () => {
      const waiting = opened();
      expect(waiting.stateAt(OPEN_MS)).toBe("HALF_OPEN");
      waiting.onOutcome("earlier", verdict, OPEN_MS);
      expect(waiting.admits(OPEN_MS)).toBe(true);
      const probed = halfOpen();
      probed.onOutcome("earlier", verdict, OPEN_MS);
      expect(probed.stateAt(OPEN_MS)).toBe("HALF_OPEN");
      expect(probed.admits(OPEN_MS)).toBe(false);
    });
  }

  it("stays open twice as long after a failed probe, up to the limit", () => {
    const breaker = opened();
    let nowMs = 0;
    let expectedMs = OPEN_MS;
    for (let i = 0; i < 10; i++) {
      nowMs = breaker.probeAtMs ?? 0;
      breaker.onAssigned("probe", nowMs);
      breaker.onOutcome("probe", "FAILURE", nowMs);
      expectedMs = Math.min(expectedMs * 2, DEFAULT_BREAKER.openMaxMs);
      expect((breaker.probeAtMs ?? 0) - nowMs).toBe(expectedMs);
    }
  });
});
