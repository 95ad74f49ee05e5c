/** How much memory waiting tasks take: filled into the engine's own queue the way submissions fill it. */
import process from "node:process";
import { createIds, MiB } from "@nexus/shared";
import { DEFAULT_RETRY, type TaskSpec } from "../domain/task.ts";
import { planTasks, readyTasks } from "../domain/task-plan.ts";
import { ReadyQueue } from "../engine/ready-queue.ts";

/** What the backlog consists of. */
export interface BacklogShape {
  readonly tasks: number;
  readonly tasksPerJob: number;
}

/** What it takes. */
export interface BacklogMemory {
  /** Live bytes of the heap for each task. */
  readonly bytesPerTask: number;
  /** What the queue takes it for, by which submissions are refused. */
  readonly countedBytesPerTask: number;
  /** The whole process, with everything that it holds beside the queue. */
  readonly residentMib: number;
}

/** Fills a queue and measures it. Needs --expose-gc, or garbage is measured, too. */
export function measureBacklog({ tasks, tasksPerJob }: BacklogShape): BacklogMemory {
  const queue = new ReadyQueue();
  const ids = createIds();
  const before = heapUsed();
  for (let job = 0; job * tasksPerJob < tasks; job += 1) {
    const home = {
      jobId: ids.next("job"),
      namespace: fromWire("default"),
      priority: 0,
      firstOrdinal: 0,
      planning: false,
    };
    const specs = Array.from({ length: tasksPerJob }, (_, index) => newSpec(index));
    const traceparent = fromWire(`00-${ids.next("t").slice(-32)}-0123456789abcdef-01`);
    const planned = planTasks(specs, home, () => ids.next("task"));
    const sinceMs = performance.now();
    for (const task of readyTasks(planned, Date.now(), traceparent)) queue.add(task, sinceMs);
  }
  const bytesPerTask = (heapUsed() - before) / queue.size;
  const residentMib = process.memoryUsage().rss / MiB;
  // Named after the measurement, so that the queue is alive until then.
  if (queue.size < tasks) throw new Error("the queue lost tasks");
  return { bytesPerTask, countedBytesPerTask: queue.bytes / queue.size, residentMib };
}

/** A spec as a request brings it: every text a string of its own. */
function newSpec(index: number): TaskSpec {
  return {
    key: fromWire(`document-${String(index).padStart(5, "0")}`),
    capability: fromWire("text.summarise"),
    versionRange: fromWire("^1.0.0"),
    input: undefined,
    dependencies: [],
    requiredLabels: { [fromWire("region")]: fromWire("eu-west-1") },
    preferredLabels: {},
    priority: 0,
    retry: DEFAULT_RETRY,
    startToCloseMs: 300_000,
    scheduleToStartMs: 3_600_000,
  };
}

function fromWire(text: string): string {
  return Buffer.from(text).toString();
}

function heapUsed(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}
