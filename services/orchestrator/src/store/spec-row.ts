/** A task's spec as it is stored: without what most tasks say alike, as every task has one and Postgres reads all of its text. */
import type { RetryPolicy, StoredTaskSpec } from "../domain/task.ts";

/** What a spec says where its row says nothing. Part of how specs are stored, so it never changes: a default that does is written. */
const UNSAID = {
  versionRange: "",
  dependencies: [],
  requiredLabels: {},
  preferredLabels: {},
  priority: 0,
  retry: {
    maxAttempts: 3,
    initialDelayMs: 1_000,
    multiplier: 2,
    maxDelayMs: 60_000,
    nonRetryableReasons: [],
  },
} as const satisfies Partial<StoredTaskSpec>;

/** What a row holds; rows from before 0028 leave nothing out. */
export type StoredSpec = Omit<StoredTaskSpec, keyof typeof UNSAID> &
  Partial<Pick<StoredTaskSpec, keyof typeof UNSAID>>;

/** Writes a spec as JSON. */
export function writeSpec(spec: StoredTaskSpec): string {
  const { versionRange, dependencies, requiredLabels, preferredLabels, priority, retry } = spec;
  return JSON.stringify({
    ...spec,
    // JSON has no place for what is undefined.
    versionRange: versionRange === UNSAID.versionRange ? undefined : versionRange,
    dependencies: dependencies.length === 0 ? undefined : dependencies,
    requiredLabels: isEmpty(requiredLabels) ? undefined : requiredLabels,
    preferredLabels: isEmpty(preferredLabels) ? undefined : preferredLabels,
    priority: priority === UNSAID.priority ? undefined : priority,
    retry: isUnsaid(retry) ? undefined : retry,
  });
}

/** Reads what a row holds. */
export function readSpec(stored: StoredSpec): StoredTaskSpec {
  return { ...UNSAID, ...stored };
}

function isEmpty(labels: Readonly<Record<string, string>>): boolean {
  for (const _name in labels) return false;
  return true;
}

/** Looks at whatever the policy says, so that a setting that comes later is not left out. Without entries, which would be a list for each task. */
function isUnsaid(policy: RetryPolicy): boolean {
  for (const name in policy) {
    const value = policy[name as keyof RetryPolicy];
    const isNothing = value === undefined || (Array.isArray(value) && value.length === 0);
    if (!isNothing && value !== UNSAID.retry[name as keyof typeof UNSAID.retry]) return false;
  }
  return true;
}
