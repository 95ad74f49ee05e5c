import {
  DEFAULT_RETRY,
  DEFAULT_SCHEDULE_TO_START_MS,
  DEFAULT_START_TO_CLOSE_MS,
  type TaskSpec,
} from "../src/domain/task.ts";

/** A task of capability `x` that runs behind its parents; everything else is the default. */
export function spec(key: string, ...parents: string[]): TaskSpec {
  return {
    key,
    capability: "x",
    versionRange: "",
    input: undefined,
    dependencies: parents.map((taskKey) => ({ taskKey, inputName: "" })),
    requiredLabels: {},
    preferredLabels: {},
    priority: 0,
    retry: DEFAULT_RETRY,
    startToCloseMs: DEFAULT_START_TO_CLOSE_MS,
    scheduleToStartMs: DEFAULT_SCHEDULE_TO_START_MS,
  };
}
