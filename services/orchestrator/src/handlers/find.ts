/** Finds what a caller names, inside the caller's namespace only. */
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { NexusError } from "@nexus/shared";
import type { JobView } from "../domain/job.ts";
import { isJobId, isTaskId } from "../domain/public-ids.ts";
import type { TimeRange } from "../domain/reader.ts";
import type { TaskView } from "../domain/task.ts";
import { jobNotFound } from "../engine/canceller.ts";
import type { HandlerDeps } from "./deps.ts";

const PAGE_SIZE_DEFAULT = 100;

/** Reads a job. Errors: not_found/JOB_NOT_FOUND, also for another namespace's. */
export async function findJob(
  { reader }: HandlerDeps,
  namespace: string,
  jobId: string,
): Promise<JobView> {
  const job = isJobId(jobId) ? await reader.job(namespace, jobId) : undefined;
  if (job === undefined) throw jobNotFound();
  return job;
}

/** Makes the error for a task that the caller's namespace does not have. */
export function taskNotFound(): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "TASK_NOT_FOUND",
    message: "There is no such task in this namespace.",
  });
}

/** Refuses what cannot be a task's id. Errors: not_found/TASK_NOT_FOUND. */
export function assertTaskId(taskId: string): void {
  if (!isTaskId(taskId)) throw taskNotFound();
}

/** Reads a stretch of time. Errors: invalid/TIME_RANGE_INVALID when it ends before it begins. */
export function rangeOf(from: Timestamp | undefined, until: Timestamp | undefined): TimeRange {
  const range = { from: dateOf(from), until: dateOf(until) };
  if (range.from === undefined || range.until === undefined || range.from <= range.until) {
    return range;
  }
  throw new NexusError({
    kind: "invalid",
    reason: "TIME_RANGE_INVALID",
    message: "The range of time ends before it begins.",
  });
}

function dateOf(time: Timestamp | undefined): Date | undefined {
  return time === undefined ? undefined : timestampDate(time);
}

/** Reads a task without its payloads. Errors: not_found/TASK_NOT_FOUND, also for another namespace's. */
export async function findTask(
  { reader }: HandlerDeps,
  namespace: string,
  taskId: string,
): Promise<TaskView> {
  const task = isTaskId(taskId) ? await reader.bareTask(namespace, taskId) : undefined;
  if (task === undefined) throw taskNotFound();
  return task;
}

/** Reads which page is asked for. */
export function pageOf(
  page: { readonly pageSize: number; readonly pageToken: string } | undefined,
): { pageSize: number; pageToken: string } {
  return {
    pageSize: page === undefined || page.pageSize === 0 ? PAGE_SIZE_DEFAULT : page.pageSize,
    pageToken: page?.pageToken ?? "",
  };
}
