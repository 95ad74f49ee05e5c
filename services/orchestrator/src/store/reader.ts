/** The reads of jobs and tasks, over pooled connections. */
import type { Queryable } from "@nexus/postgres";
import type { Reader } from "../domain/reader.ts";
import { readChunks, readNewestAttempt } from "./chunk-store.ts";
import { listDeadLetters } from "./dead-letter-store.ts";
import { readEvents } from "./event-store.ts";
import { readJob, readResults } from "./job-reader.ts";
import { listJobs } from "./job-search.ts";
import { listTasks, readAttempts, readTask, readTaskBare } from "./task-reader.ts";
import { searchTasks } from "./task-search.ts";

/** Creates the reader. */
export function createReader(pool: Queryable): Reader {
  return {
    job: (namespace, jobId) => readJob(pool, namespace, jobId),
    jobs: (filter) => listJobs(pool, filter),
    results: (jobId) => readResults(pool, jobId),
    task: (namespace, taskId) => readTask(pool, namespace, taskId),
    bareTask: (namespace, taskId) => readTaskBare(pool, namespace, taskId),
    tasks: (filter) => listTasks(pool, filter),
    searchTasks: (search) => searchTasks(pool, search),
    attempts: (taskId, limit) => readAttempts(pool, taskId, limit),
    newestAttempt: (taskId) => readNewestAttempt(pool, taskId),
    chunks: (place, limits) => readChunks(pool, place, limits),
    deadLetters: (query) => listDeadLetters(pool, query),
    events: (jobId, after, page) => readEvents(pool, jobId, after, page),
  };
}
