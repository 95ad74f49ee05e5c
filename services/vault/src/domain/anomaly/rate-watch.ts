import type { AuditEvent, Finding } from "./alert.ts";
import { SUBJECTS_MAX, SubjectMemory, subjectOf } from "./subject-memory.ts";

/** Calls are counted by the minute. */
const WINDOW_MS = 60_000;
/** Windows that the average looks back on; older ones fade. */
const AVERAGE_WINDOWS = 60;
/** A peak counts half of itself a day later: yesterday's busy hour is no surprise today. */
const PEAK_HALF_LIFE_WINDOWS = 1440;
/** Below it nothing is unusual. */
const CALLS_FLOOR = 300;
/** Until there is a history. */
const NEWCOMER_LIMIT = 1200;
const HISTORY_WINDOWS_MIN = 10;
const AVERAGE_FACTOR = 6;
const PEAK_FACTOR = 3;

interface History {
  window: number;
  calls: number;
  average: number;
  peak: number;
  windows: number;
  raised: boolean;
}

/** Notices a caller that uses a method far more often than it ever did. */
export class RateWatch {
  readonly #histories = new SubjectMemory<History>(SUBJECTS_MAX);

  examine(event: AuditEvent): Finding | undefined {
    const { namespace, principalId, method, timeMs, leafIndex } = event;
    if (principalId === "" || event.kind === "system") return undefined;
    const subject = subjectOf("rate", namespace, principalId, method);
    const window = Math.floor(timeMs / WINDOW_MS);
    const history = this.#histories.of(subject, () => beginAt(window));
    moveOn(history, window);
    history.calls += event.count;
    const limit = limitOf(history);
    if (history.raised || history.calls <= limit) return undefined;
    history.raised = true;
    const usual = history.windows < HISTORY_WINDOWS_MIN ? undefined : history.average;
    const { calls } = history;
    return {
      severity: "medium",
      namespace,
      principalId,
      timeMs,
      leafIndex,
      subject,
      evidence: { detector: "rate", method, calls, limit, usual, windowMs: WINDOW_MS },
    };
  }
}

function beginAt(window: number): History {
  return { window, calls: 0, average: 0, peak: 0, windows: 0, raised: false };
}

function limitOf({ windows, average, peak }: History): number {
  if (windows < HISTORY_WINDOWS_MIN) return NEWCOMER_LIMIT;
  return Math.max(CALLS_FLOOR, AVERAGE_FACTOR * average, PEAK_FACTOR * peak);
}

/** Ends the window that is over, and the silent ones behind it. An entry that comes late counts where the history stands. */
function moveOn(history: History, window: number): void {
  const passed = window - history.window;
  if (passed <= 0) return;
  const weight = 1 / Math.min(history.windows + 1, AVERAGE_WINDOWS);
  const fade = (1 - 1 / AVERAGE_WINDOWS) ** (passed - 1);
  history.average = (history.average + weight * (history.calls - history.average)) * fade;
  const halved = 0.5 ** (passed / PEAK_HALF_LIFE_WINDOWS);
  // What was an alert is no measure of what is usual.
  const seen = history.raised ? 0 : history.calls;
  history.peak = Math.max(seen, history.peak) * halved;
  history.windows += passed;
  history.window = window;
  history.calls = 0;
  history.raised = false;
}
