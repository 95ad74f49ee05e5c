/** Jobs as the stores insert them, without an engine. */
import type { Pool } from "@nexus/postgres";
import { createIds } from "@nexus/shared";
import { newJobProgress } from "../src/domain/job-state.ts";
import type { Claim, LiveTask } from "../src/domain/live-task.ts";
import type { TaskSpec } from "../src/domain/task.ts";
import { planTasks, readyTasks } from "../src/domain/task-plan.ts";
import { insertJobs } from "../src/store/job-insert.ts";
import { insertTasks } from "../src/store/task-insert.ts";

const ids = createIds();

/** Inserts a job and returns its waiting tasks. */
export async function insertJob(
  pool: Pool,
  ...specs: TaskSpec[]
): Promise<{ jobId: string; ready: LiveTask[] }> {
  const jobId = ids.next("job");
  const home = { jobId, namespace: "default", priority: 0, firstOrdinal: 0, planning: false };
  const tasks = planTasks(specs, home, () => ids.next("task"));
  const submission = {
    namespace: "default",
    principalId: "alice",
    requestId: jobId,
    bodyHash: new Uint8Array(32),
    objective: "",
    priority: 0,
    labels: {},
    tasks: specs,
    planning: false,
    traceparent: "",
  };
  const blocked = tasks.filter((task) => task.parents.length > 0).length;
  const progress = newJobProgress({ total: tasks.length, blocked });
  await insertJobs(pool, [{ jobId, submission, progress }]);
  await insertTasks(pool, tasks);
  return { jobId, ready: readyTasks(tasks, 0, "") };
}

export function claimOf(task: LiveTask, agentId = "agent"): Claim {
  return {
    task,
    agentId,
    agentEpoch: 1n,
    capabilityVersion: "1.0.0",
    decision: {
      agentId,
      score: 1,
      factors: undefined,
      fallbackAgentId: "",
      fallbackScore: 0,
      eligible: 1,
      rejections: [],
      exploration: false,
    },
  };
}
