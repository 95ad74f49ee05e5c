/** Public ids (`job_<hex>`, `task_<hex>`) to and from the uuid columns that hold them: 16 bytes a key instead of 37. */

const JOB_PREFIX = "job_".length;
const TASK_PREFIX = "task_".length;

/** Cuts the prefix off a job's id. */
export function jobUuid(jobId: string): string {
  return jobId.slice(JOB_PREFIX);
}

/** Cuts the prefix off a task's id. */
export function taskUuid(taskId: string): string {
  return taskId.slice(TASK_PREFIX);
}

/** Makes a job's id from a column. */
export function toJobId(uuid: string): string {
  return `job_${uuid.replaceAll("-", "")}`;
}

/** Makes a task's id from a column. */
export function toTaskId(uuid: string): string {
  return `task_${uuid.replaceAll("-", "")}`;
}
