import { describe, expect, it } from "vitest";
import {
  applyJobDelta,
  isTerminalJobState,
  JOB_EVENTS,
  JOB_STATES,
  type JobDelta,
  type JobEvent,
  type JobProgress,
  type JobState,
  NO_TASKS,
  nextJobState,
  resumeEventOf,
  type TaskCounts,
} from "./job-state.ts";

/** The legal cells; every other event leaves the state as it is. */
const LEGAL: Readonly<Record<JobState, Partial<Record<JobEvent, JobState>>>> = {
  PENDING: {
    TASK_LEASED: "RUNNING",
    PLANNER_LEASED: "PLANNING",
    ALL_SUCCEEDED: "COMPLETED",
    ENDED_IN_PART: "PARTIAL",
    ENDED_WITH_FAILURE: "FAILED",
    CANCEL: "CANCELLED",
    PAUSE: "PAUSED",
  },
  PLANNING: {
    PLANNED: "RUNNING",
    ENDED_WITH_FAILURE: "FAILED",
    CANCEL: "CANCELLED",
    PAUSE: "PAUSED",
  },
  RUNNING: {
    ALL_SUCCEEDED: "COMPLETED",
    ENDED_IN_PART: "PARTIAL",
    ENDED_WITH_FAILURE: "FAILED",
    CANCEL: "CANCELLED",
    PAUSE: "PAUSED",
  },
  PAUSED: {
    RESUME: "RUNNING",
    RESUME_PLANNING: "PLANNING",
    RESUME_UNSTARTED: "PENDING",
    ALL_SUCCEEDED: "COMPLETED",
    ENDED_IN_PART: "PARTIAL",
    ENDED_WITH_FAILURE: "FAILED",
    CANCEL: "CANCELLED",
  },
  COMPLETED: {},
  PARTIAL: {},
  FAILED: {},
  CANCELLED: {},
};

function counts(changes: Partial<TaskCounts>): TaskCounts {
  return { ...NO_TASKS, ...changes };
}

function job(state: JobState, changes: Partial<TaskCounts>): JobProgress {
  return { state, counts: counts(changes), failure: undefined };
}

function delta(changes: Partial<TaskCounts>, extra: Partial<JobDelta> = {}): JobDelta {
  return { counts: counts(changes), failure: undefined, events: [], ...extra };
}

describe("job state machine", () => {
  for (const state of JOB_STATES) {
    for (const event of JOB_EVENTS) {
      it(`${state} on ${event} gives ${LEGAL[state][event] ?? state}`, () => {
        expect(nextJobState(state, event)).toBe(LEGAL[state][event] ?? state);
      });
    }
  }

  it("has four terminal states", () => {
    expect(JOB_STATES.filter(isTerminalJobState)).toEqual([
      "COMPLETED",
      "PARTIAL",
      "FAILED",
      "CANCELLED",
    ]);
  });
});

describe("resumeEventOf", () => {
  it("leads back to where the job was", () => {
    const back = (started: boolean, unplanned: boolean) =>
      nextJobState("PAUSED", resumeEventOf({ started, unplanned }));
    expect(back(false, false)).toBe("PENDING");
    expect(back(false, true)).toBe("PENDING");
    expect(back(true, true)).toBe("PLANNING");
    expect(back(true, false)).toBe("RUNNING");
  });
});

describe("applyJobDelta", () => {
  it("runs a job on its first lease", () => {
    const next = applyJobDelta(
      job("PENDING", { total: 2, ready: 2 }),
      delta({ ready: -1, active: 1 }, { events: ["TASK_LEASED"] }),
    );
    expect(next).toMatchObject({ state: "RUNNING", counts: { ready: 1, active: 1 } });
  });

  it("completes a job with its last task", () => {
    const next = applyJobDelta(
      job("RUNNING", { total: 2, active: 1, succeeded: 1 }),
      delta({ active: -1, succeeded: 1 }),
    );
    expect(next.state).toBe("COMPLETED");
  });

  it("fails a job only when its last task is terminal, with the first failure", () => {
    const first = { reason: "AGENT_ERROR", message: "x", taskKey: "a" };
    const failing = applyJobDelta(
      job("RUNNING", { total: 3, active: 2, blocked: 1 }),
      delta({ active: -1, failed: 1, blocked: -1, skipped: 1 }, { failure: first }),
    );
    expect(failing.state).toBe("RUNNING");
    const ended = applyJobDelta(
      failing,
      delta({ active: -1, failed: 1 }, { failure: { ...first, taskKey: "b" } }),
    );
    expect(ended).toMatchObject({ state: "FAILED", failure: { taskKey: "a" } });
  });

  it("ends in part when all failures are tolerated, and only when the last task moves", () => {
    const before = job("RUNNING", { total: 3, active: 1, failed: 1, succeeded: 1 });
    expect(applyJobDelta(before, delta({}), true).state).toBe("RUNNING");
    const last = delta({ active: -1, succeeded: 1 });
    expect(applyJobDelta(before, last, true).state).toBe("PARTIAL");
    expect(applyJobDelta(before, last).state).toBe("FAILED");
  });

  it("goes on after the planner when the plan adds tasks in the same batch", () => {
    const next = applyJobDelta(
      job("PLANNING", { total: 1, active: 1 }),
      delta({ total: 2, active: -1, succeeded: 1, ready: 1, blocked: 1 }, { events: ["PLANNED"] }),
    );
    expect(next.state).toBe("RUNNING");
  });

  it("fails a job whose planner failed", () => {
    const next = applyJobDelta(
      job("PLANNING", { total: 1, active: 1 }),
      delta({ active: -1, failed: 1 }),
    );
    expect(next.state).toBe("FAILED");
  });

  it("fails a job whose only task never found an agent", () => {
    const next = applyJobDelta(
      job("PENDING", { total: 1, ready: 1 }),
      delta({ ready: -1, failed: 1 }),
    );
    expect(next.state).toBe("FAILED");
  });

  it("leaves a cancelled job alone", () => {
    const next = applyJobDelta(
      job("CANCELLED", { total: 1, active: 1 }),
      delta({ active: -1, succeeded: 1 }),
    );
    expect(next.state).toBe("CANCELLED");
  });

  it("leases and ends in one batch pass through RUNNING", () => {
    const next = applyJobDelta(
      job("PENDING", { total: 1, ready: 1 }),
      delta({ ready: -1, succeeded: 1 }, { events: ["TASK_LEASED"] }),
    );
    expect(next.state).toBe("COMPLETED");
  });
});
