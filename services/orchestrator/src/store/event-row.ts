/** The changes of one job in one transaction as they are stored: what many of them have in common is said once. */
import type { JobChange, TaskChange } from "../domain/job-event.ts";
import type { JobState } from "../domain/job-state.ts";
import type { Failure } from "../domain/task.ts";
import type { TaskState } from "../domain/task-state.ts";
import { taskUuid, toTaskId } from "./row-ids.ts";

type Change = JobChange | TaskChange;

/** What a change was, whatever it happened to; what is empty is left out. */
interface StoredKind {
  readonly state: string;
  readonly attempt?: number;
  readonly agent?: string;
  readonly reason?: string;
  readonly message?: string;
  /** Key of the task that failed first. */
  readonly cause?: string;
}

/** A kind by its place in the list, and to which task it happened; a job's own change has none. */
type ShortChange = readonly [kind: number, task?: string, key?: string];

interface ShortChanges {
  readonly kinds: readonly StoredKind[];
  readonly changes: readonly ShortChange[];
}

/** A change in a row from before 0027. */
interface LongChange extends StoredKind {
  /** The task's id, not its uuid. */
  readonly task?: string;
  readonly key?: string;
}

/** What a row may hold. */
export type StoredChanges = ShortChanges | readonly LongChange[];

/** No stored text has it, so what is told apart by it is told apart for certain. */
const SEPARATOR = "\0";

/** Writes changes of one job as JSON. */
export function writeChanges(changes: readonly Change[]): string {
  const places = new Map<string, number>();
  const kinds: StoredKind[] = [];
  const stored: ShortChange[] = [];
  for (const change of changes) {
    const name = nameOfKind(change);
    let place = places.get(name);
    if (place === undefined) {
      place = kinds.push(toKind(change)) - 1;
      places.set(name, place);
    }
    stored.push(
      change.kind === "task" ? [place, taskUuid(change.taskId), change.taskKey] : [place],
    );
  }
  return JSON.stringify({ kinds, changes: stored } satisfies ShortChanges);
}

function nameOfKind(change: Change): string {
  const { state, failure } = change;
  const name =
    change.kind === "task"
      ? `${state}${SEPARATOR}${change.attempt}${SEPARATOR}${change.agentId}`
      : state;
  if (failure === undefined) return name;
  const { reason, message, taskKey } = failure;
  return [name, reason, taskKey, message].join(SEPARATOR);
}

function toKind(change: Change): StoredKind {
  const { state, failure } = change;
  const { attempt, agentId } = change.kind === "task" ? change : { attempt: 0, agentId: "" };
  return {
    state,
    ...(attempt > 0 && { attempt }),
    ...(agentId !== "" && { agent: agentId }),
    ...(failure !== undefined && { reason: failure.reason, message: failure.message }),
    ...(failure !== undefined && failure.taskKey !== "" && { cause: failure.taskKey }),
  };
}

/** Reads the changes of a row of this job. */
export function readChanges(jobId: string, stored: StoredChanges): Change[] {
  if (!("kinds" in stored)) {
    return stored.map((change) => toChange(jobId, change, change.task, change.key));
  }
  return stored.changes.map(([place, task, key]) => {
    const kind = stored.kinds[place] as StoredKind;
    return toChange(jobId, kind, task === undefined ? undefined : toTaskId(task), key);
  });
}

function toChange(
  jobId: string,
  kind: StoredKind,
  taskId: string | undefined,
  taskKey = "",
): Change {
  const { state, attempt = 0, agent: agentId = "" } = kind;
  const failure = toFailure(kind);
  if (taskId === undefined) return { kind: "job", jobId, state: state as JobState, failure };
  return {
    kind: "task",
    jobId,
    taskId,
    taskKey,
    state: state as TaskState,
    attempt,
    agentId,
    failure,
  };
}

function toFailure({ reason, message = "", cause = "" }: StoredKind): Failure | undefined {
  return reason === undefined ? undefined : { reason, message, taskKey: cause };
}
