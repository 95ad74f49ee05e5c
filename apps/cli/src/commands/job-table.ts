import { type Job, JobState } from "@nexus/proto/orchestrator";
import { showEnum, showTime } from "../show.ts";

/** The columns of a list of jobs. */
export const JOB_HEAD = ["job", "state", "tasks", "failed", "created", "ended", "objective"];

/** One job as a row of that list. */
export function jobRow(job: Job): string[] {
  return [
    job.jobId,
    showEnum(JobState, job.state),
    `${job.tasks?.succeeded ?? 0}/${job.tasks?.total ?? 0}`,
    String(job.tasks?.failed ?? 0),
    showTime(job.createTime),
    showTime(job.endTime),
    job.objective.length > 40 ? `${job.objective.slice(0, 39)}…` : job.objective || "-",
  ];
}
