import { type Job, type JobEvent, JobState, type NexusClient, TaskState } from "@nexus/sdk";
import type { Screen } from "./screen.ts";

/** Hears of every state change of a task. */
export type OnTask = (taskKey: string, state: TaskState, agentId: string) => void;

/** Follows a job to its end and shows what happens. Returns the job as it ended. */
export async function watchToEnd(
  client: NexusClient,
  jobId: string,
  screen: Screen,
  onTask: OnTask,
): Promise<Job> {
  let done = 0;
  for await (const { events } of client.jobs.watchJob({ jobId })) {
    for (const event of events) {
      if (isSuccess(event)) done += 1;
      show(event, done, screen);
      const change = event.event;
      if (change.case === "taskChanged") {
        onTask(change.value.taskKey, change.value.state, change.value.agentId);
      }
    }
  }
  const { job } = await client.jobs.getJob({ jobId });
  if (job === undefined) throw new Error("The job is gone.");
  return job;
}

function isSuccess({ event }: JobEvent): boolean {
  return event.case === "taskChanged" && event.value.state === TaskState.SUCCEEDED;
}

function show({ event }: JobEvent, done: number, screen: Screen): void {
  if (event.case === "jobChanged") {
    screen.line(`job is ${JobState[event.value.state]}`);
    return;
  }
  if (event.case !== "taskChanged") return;
  const { taskKey, state, agentId, attempt, failure } = event.value;
  if (state === TaskState.SUCCEEDED) {
    screen.line(`${String(done).padStart(4)} done  ${taskKey.padEnd(14)} on ${agentId}`);
  } else if (failure !== undefined) {
    screen.line(
      `          ${taskKey.padEnd(14)} attempt ${attempt} on ${agentId}: ${failure.reason}`,
    );
  }
}
