/** Every method of the orchestrator, in one screen. */
import type { JobService, LeaseService, PayloadService } from "@nexus/proto/orchestrator";
import type { ServiceImplementation } from "@nexus/rpc";
import { createCancelJob } from "./cancel-job.ts";
import { createCheck } from "./check.ts";
import type { HandlerDeps, PayloadHandlerDeps } from "./deps.ts";
import { createDownloadPayload } from "./download-payload.ts";
import { createExplainTask } from "./explain-task.ts";
import { createFindPayload } from "./find-payload.ts";
import { createGetJob } from "./get-job.ts";
import { createGetTask } from "./get-task.ts";
import { createListDeadLetters } from "./list-dead-letters.ts";
import { createListJobs } from "./list-jobs.ts";
import { createListTasks } from "./list-tasks.ts";
import { createPauseJob } from "./pause-job.ts";
import { createRedriveDeadLetters } from "./redrive-dead-letters.ts";
import { createReplayJob } from "./replay-job.ts";
import { createResumeJob } from "./resume-job.ts";
import { createRetryJob } from "./retry-job.ts";
import { createSearchTasks } from "./search-tasks.ts";
import { createSubmitJob } from "./submit-job.ts";
import { createUploadPayload } from "./upload-payload.ts";
import { createWatchJob } from "./watch-job.ts";
import { createWatchTask } from "./watch-task.ts";

/** Builds the route table of JobService. */
export function createHandlers(deps: HandlerDeps): ServiceImplementation<typeof JobService> {
  return {
    submitJob: createSubmitJob(deps),
    getJob: createGetJob(deps),
    listJobs: createListJobs(deps),
    listTasks: createListTasks(deps),
    searchTasks: createSearchTasks(deps),
    getTask: createGetTask(deps),
    watchJob: createWatchJob(deps),
    cancelJob: createCancelJob(deps),
    pauseJob: createPauseJob(deps),
    resumeJob: createResumeJob(deps),
    retryJob: createRetryJob(deps),
    replayJob: createReplayJob(deps),
    explainTask: createExplainTask(deps),
    watchTask: createWatchTask(deps),
    listDeadLetters: createListDeadLetters(deps),
    redriveDeadLetters: createRedriveDeadLetters(deps),
  };
}

/** Builds the route table of LeaseService. */
export function createLeaseHandlers(
  deps: Pick<HandlerDeps, "engine">,
): ServiceImplementation<typeof LeaseService> {
  return { check: createCheck(deps) };
}

/** Builds the route table of PayloadService. */
export function createPayloadHandlers(
  deps: PayloadHandlerDeps,
): ServiceImplementation<typeof PayloadService> {
  return {
    findPayload: createFindPayload(deps),
    uploadPayload: createUploadPayload(deps),
    downloadPayload: createDownloadPayload(deps),
  };
}
