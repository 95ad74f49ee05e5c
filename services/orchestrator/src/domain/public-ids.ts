/** The form of the ids that callers see. */

const JOB_ID = /^job_[0-9a-f]{32}$/;
const TASK_ID = /^task_[0-9a-f]{32}$/;

/** Says whether a text can be the id of a job; one that cannot is simply not found. */
export function isJobId(text: string): boolean {
  return JOB_ID.test(text);
}

/** Says whether a text can be the id of a task. */
export function isTaskId(text: string): boolean {
  return TASK_ID.test(text);
}
