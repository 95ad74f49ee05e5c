import { describe, expect, it } from "vitest";
import {
  isAttached,
  isOver,
  nextSessionState,
  SESSION_EVENTS,
  SESSION_STATES,
  type SessionEvent,
  type SessionState,
} from "./session-state.ts";

const _ = undefined;

/** Columns in the order of SESSION_EVENTS: pause unpause break resume supersede goodbye expire revoke. */
const EXPECTED: Record<SessionState, readonly (SessionState | undefined)[]> = {
  connected: ["draining", "connected", "detached", "connected", "lost", "closed", "lost", "lost"],
  draining: ["draining", "connected", "detached", "connected", "lost", "closed", "lost", "lost"],
  detached: [_, _, _, "connected", "lost", _, "lost", _],
  closed: [_, _, _, _, _, _, _, _],
  lost: [_, _, _, _, _, _, _, _],
};

describe("session state table", () => {
  for (const state of SESSION_STATES) {
    SESSION_EVENTS.forEach((event: SessionEvent, column) => {
      const next = EXPECTED[state][column];
      it(`takes ${state} on ${event} to ${next ?? "nowhere"}`, () => {
        expect(nextSessionState(state, event)).toBe(next);
      });
    });
  }

  it("has no way out of a terminal state", () => {
    expect(SESSION_STATES.filter(isOver)).toEqual(["closed", "lost"]);
  });

  it("attaches only sessions that have a stream", () => {
    expect(SESSION_STATES.filter(isAttached)).toEqual(["connected", "draining"]);
  });
});
