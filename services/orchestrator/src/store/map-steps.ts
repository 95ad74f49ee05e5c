/** The steps of mapped tasks: from their dependencies to a task for each element, and from these to the list. */
import type { Queryable } from "@nexus/postgres";
import type { JobDeltas } from "../domain/job-deltas.ts";
import { JOB_TASKS_MAX, PAYLOAD_MAX_BYTES } from "../domain/limits.ts";
import type { LiveTask } from "../domain/live-task.ts";
import { EMPTY_LIST, itemSpec, joinOutputs, readItems } from "../domain/map.ts";
import type { MapSpec } from "../domain/map-spec.ts";
import type { Failure, Payload } from "../domain/task.ts";
import { type NewTask, readyTasks } from "../domain/task-plan.ts";
import {
  type DueMap,
  findDueMaps,
  gatherMap,
  readDependencyOutput,
  readItemOutputs,
  rejectMap,
  tieItems,
} from "./map-store.ts";
import { insertTasks } from "./task-insert.ts";

/** A mapped task that came to its end. */
export interface EndedMap {
  readonly task: LiveTask;
  readonly failure: Failure | undefined;
}

/** What the steps did. */
export interface MapSteps {
  readonly ended: readonly EndedMap[];
  /** The tasks of elements; in ready already. */
  readonly created: readonly LiveTask[];
}

/** Where mapped tasks may have become due. */
export interface MapOccasion {
  /** Tasks that ended, and that a mapped task may wait for. */
  readonly ended: readonly string[];
  /** Mapped tasks that were just inserted with nothing to wait for. */
  readonly inserted: readonly string[];
}

/** What mapped tasks need to become the tasks of their elements. */
export interface GrowthSupply {
  /** Makes the id of a task of this job. */
  readonly newTaskId: (jobId: string) => string;
  /** Says why so many more tasks of a namespace may not wait; undefined when they may. */
  readonly findNoRoom: (namespace: string, tasks: number) => string | undefined;
}

/** Takes every mapped task that is due one step further. Its end may make others due.
 *
 * Cost: 1 statement, and for each that is due 2 to 5. */
export async function stepMaps(
  client: Queryable,
  occasion: MapOccasion,
  deltas: JobDeltas,
  supply: GrowthSupply,
): Promise<MapSteps> {
  const ended: EndedMap[] = [];
  const created: LiveTask[] = [];
  for (const found of await findDueMaps(client, occasion.ended, occasion.inserted)) {
    const due = after(created, found);
    const step = due.expanded ? await gather(client, due) : await readList(client, due);
    const next = withinRoom(step, due, created, supply);
    if (next.kind === "EXPAND") {
      created.push(...(await expand(client, due, next.items, supply.newTaskId)));
      deltas.add(due.task.jobId, { ready: next.items.length, blocked: 0 });
    } else if (next.kind === "GATHER") {
      await gatherMap(client, due.task.taskId, next.output);
      ended.push({ task: due.task, failure: undefined });
    } else {
      await rejectMap(client, due.task.taskId, next.failure);
      ended.push({ task: due.task, failure: next.failure });
    }
  }
  return { ended, created };
}

/** Several tasks of one job may be due together: what the earlier ones made counts for the later. */
function after(created: readonly LiveTask[], due: DueMap): DueMap {
  const more = created.filter((task) => task.jobId === due.task.jobId).length;
  return { ...due, nextOrdinal: due.nextOrdinal + more, jobTasks: due.jobTasks + more };
}

/** A list whose tasks find no room fails its mapped task: what waits is held in memory, by whoever owns the job. */
function withinRoom(
  step: Next,
  { task }: DueMap,
  created: readonly LiveTask[],
  { findNoRoom }: GrowthSupply,
): Next {
  if (step.kind !== "EXPAND") return step;
  const { namespace } = task;
  const made = created.filter((other) => other.namespace === namespace).length;
  const noRoom = findNoRoom(namespace, made + step.items.length);
  return noRoom === undefined ? step : reject("QUEUE_FULL", noRoom);
}

type Next =
  | { readonly kind: "EXPAND"; readonly items: readonly string[] }
  | { readonly kind: "GATHER"; readonly output: Payload }
  | { readonly kind: "REJECT"; readonly failure: Failure };

async function readList(client: Queryable, { task, spec, jobTasks }: DueMap): Promise<Next> {
  const { dependencies } = spec;
  const map = spec.map as MapSpec;
  const position = dependencies.findIndex((edge) => edge.taskKey === map.source);
  const output = await readDependencyOutput(client, task.taskId, position);
  const read = readItems(output, map, JOB_TASKS_MAX - jobTasks);
  if (!read.ok) return reject(read.reason, read.message);
  if (read.items.length > 0) return { kind: "EXPAND", items: read.items };
  return { kind: "GATHER", output: EMPTY_LIST };
}

async function gather(client: Queryable, { task }: DueMap): Promise<Next> {
  const outputs = await readItemOutputs(client, task.taskId, PAYLOAD_MAX_BYTES);
  const output = outputs === undefined ? undefined : joinOutputs(outputs);
  if (output !== undefined) return { kind: "GATHER", output };
  const message = `The list of outputs has more than ${PAYLOAD_MAX_BYTES} bytes.`;
  return reject("OUTPUT_TOO_LARGE", message);
}

function reject(reason: string, message: string): Next {
  return { kind: "REJECT", failure: { reason, message, taskKey: "" } };
}

async function expand(
  client: Queryable,
  due: DueMap,
  items: readonly string[],
  newTaskId: (jobId: string) => string,
): Promise<LiveTask[]> {
  const { task, nextOrdinal, nowMs } = due;
  const tasks = items.map(
    (_item, index): NewTask => ({
      taskId: newTaskId(task.jobId),
      jobId: task.jobId,
      namespace: task.namespace,
      ordinal: nextOrdinal + index,
      spec: itemSpec(due.spec, index),
      input: undefined,
      priority: task.priority,
      planning: false,
      sink: false,
      hasUpstream: true,
      parents: [],
      pending: 0,
    }),
  );
  await insertTasks(client, tasks);
  await tieItems(
    client,
    due,
    tasks.map(({ taskId }, index) => ({ taskId, data: items[index] as string })),
  );
  return readyTasks(tasks, nowMs, task.traceparent);
}
