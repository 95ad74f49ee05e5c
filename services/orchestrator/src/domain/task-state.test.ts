import { describe, expect, it } from "vitest";
import {
  isTerminalTaskState,
  nextTaskState,
  statesThatAllow,
  TASK_EVENTS,
  TASK_STATES,
  type TaskEvent,
  type TaskState,
} from "./task-state.ts";

/** Every cell of the table, written out: `-` means that the event changes nothing. */
const CELLS: Readonly<Record<TaskState, Readonly<Record<TaskEvent, TaskState | "-">>>> = {
  BLOCKED: row({
    UNBLOCK: "READY",
    GATHER: "SUCCEEDED",
    REJECT: "FAILED",
    SKIP: "SKIPPED",
    CANCEL: "CANCELLED",
  }),
  READY: row({ LEASE: "LEASED", EXPIRE: "FAILED", CANCEL: "CANCELLED" }),
  LEASED: row({
    ACCEPT: "RUNNING",
    SUCCEED: "SUCCEEDED",
    REQUEUE: "READY",
    FAIL: "FAILED",
    CANCEL: "CANCELLED",
  }),
  RUNNING: row({ SUCCEED: "SUCCEEDED", REQUEUE: "READY", FAIL: "FAILED", CANCEL: "CANCELLED" }),
  SUCCEEDED: row({}),
  FAILED: row({}),
  CANCELLED: row({}),
  SKIPPED: row({}),
};

function row(legal: Partial<Record<TaskEvent, TaskState>>): Record<TaskEvent, TaskState | "-"> {
  const none = {
    UNBLOCK: "-",
    GATHER: "-",
    REJECT: "-",
    SKIP: "-",
    LEASE: "-",
    ACCEPT: "-",
    SUCCEED: "-",
    REQUEUE: "-",
    FAIL: "-",
    EXPIRE: "-",
    CANCEL: "-",
  } as const;
  return { ...none, ...legal };
}

describe("task state machine", () => {
  for (const state of TASK_STATES) {
    for (const event of TASK_EVENTS) {
      it(`${state} on ${event} gives ${CELLS[state][event]}`, () => {
        expect(nextTaskState(state, event) ?? "-").toBe(CELLS[state][event]);
      });
    }
  }

  it("ends in exactly four terminal states", () => {
    expect(TASK_STATES.filter(isTerminalTaskState)).toEqual([
      "SUCCEEDED",
      "FAILED",
      "CANCELLED",
      "SKIPPED",
    ]);
  });

  it("reaches every terminal state from BLOCKED", () => {
    const seen = new Set<TaskState>(["BLOCKED"]);
    for (const state of seen) {
      for (const event of TASK_EVENTS) {
        const next = nextTaskState(state, event);
        if (next !== undefined) seen.add(next);
      }
    }
    expect([...seen].sort()).toEqual([...TASK_STATES].sort());
  });

  it("names the states that guard each event", () => {
    expect(statesThatAllow("LEASE")).toEqual(["READY"]);
    expect(statesThatAllow("SUCCEED")).toEqual(["LEASED", "RUNNING"]);
    expect(statesThatAllow("CANCEL")).toEqual(["BLOCKED", "READY", "LEASED", "RUNNING"]);
  });
});
