/** Pauses jobs and lets them go on. */
import type { Queryable } from "@nexus/postgres";
import type { JobView } from "../domain/job.ts";
import type { JobEvent } from "../domain/job-event.ts";
import { type JobState, nextJobState, resumeEventOf } from "../domain/job-state.ts";
import { holdJob } from "../store/cancel-store.ts";
import { appendEvents } from "../store/event-store.ts";
import { readJob } from "../store/job-reader.ts";
import { pauseJob, readProgress, resumeJob, withholdTasks } from "../store/pause-store.ts";
import { notOwner } from "../store/writer-session.ts";
import { jobNotFound } from "./canceller.ts";
import type { FreedTask } from "./freed-tasks.ts";
import type { EngineParts } from "./parts.ts";
import { publish } from "./publish.ts";
import { type JobOrder, recordOnce } from "./recorded-request.ts";

/** What one transaction did. */
interface Flushed<T> {
  readonly job: JobView;
  readonly events: readonly JobEvent[];
  readonly moved: readonly T[];
  readonly isRepeat: boolean;
}

/** What the pauser needs beside the shared parts. */
export interface PauserDeps {
  readonly parts: EngineParts;
  readonly onReady: (tasks: readonly FreedTask[]) => void;
}

/** Owns the set of paused jobs. Ready tasks of theirs are not in memory, and their rows say that they are withheld. */
export class Pauser {
  readonly #parts: EngineParts;
  readonly #deps: PauserDeps;

  constructor(deps: PauserDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
  }

  /** Hands out nothing of a job any more; committed before it answers. A job that is paused or terminal is left as it is.
   *
   * Errors: not_found/JOB_NOT_FOUND; conflict/REQUEST_ID_REUSED; unavailable/NOT_OWNER. */
  pause(order: JobOrder): Promise<JobView> {
    return this.#run<string>(
      "PauseJob",
      order,
      async (client, state) => {
        const next = nextJobState(state, "PAUSE");
        if (next === state) return undefined;
        return { state: next, moved: await pauseJob(client, order.jobId) };
      },
      (taskIds) => {
        this.#parts.paused.add(order.jobId);
        for (const taskId of taskIds) this.#parts.queue.remove(taskId);
      },
    );
  }

  /** Lets a paused job go on where it was; any other is left as it is. Errors: as pause(), and exhausted/QUEUE_FULL. */
  resume(order: JobOrder): Promise<JobView> {
    return this.#run<FreedTask>(
      "ResumeJob",
      order,
      async (client, state) => {
        if (state !== "PAUSED") return undefined;
        const next = nextJobState(state, resumeEventOf(await readProgress(client, order.jobId)));
        const moved = await resumeJob(client, order.jobId, next);
        this.#parts.backlog.assertRoom(order.namespace, moved.length);
        return { state: next, moved };
      },
      (tasks) => {
        this.#parts.paused.delete(order.jobId);
        this.#deps.onReady(tasks);
      },
    );
  }

  async #run<T>(
    method: "PauseJob" | "ResumeJob",
    order: JobOrder,
    move: (
      client: Queryable,
      state: JobState,
    ) => Promise<{ readonly state: JobState; readonly moved: readonly T[] } | undefined>,
    apply: (moved: readonly T[]) => void,
  ): Promise<JobView> {
    const { namespace, jobId } = order;
    const { job } = await this.#parts.ledger.run(
      async (client): Promise<Flushed<T>> => {
        if (!this.#parts.ledger.owns(jobId)) throw notOwner("Another replica owns the job.");
        const state = await holdJob(client, namespace, jobId);
        if (state === undefined) throw jobNotFound();
        // A repeat that comes late must not undo what was asked for in between.
        const earlier = await recordOnce(client, method, order);
        const done = earlier === undefined ? await move(client, state) : undefined;
        const change = { kind: "job" as const, jobId, failure: undefined };
        const events =
          done === undefined ? [] : await appendEvents(client, [{ ...change, state: done.state }]);
        const job = await readJob(client, namespace, jobId);
        if (job === undefined) throw jobNotFound();
        return { job, events, moved: done?.moved ?? [], isRepeat: earlier !== undefined };
      },
      ({ events, moved, isRepeat }) => {
        if (!isRepeat) order.leaf?.stored();
        if (events.length === 0) return;
        apply(moved);
        publish(this.#parts, events);
      },
    );
    return job;
  }
}

/** Withholds those of the freed tasks whose job is paused, in the transaction that freed them; returns the others.
 *
 * Cost: nothing while no job is paused. */
export async function withholdPaused(
  { paused }: EngineParts,
  client: Queryable,
  freed: readonly FreedTask[],
): Promise<readonly FreedTask[]> {
  if (paused.size === 0) return freed;
  const isPaused = ({ task }: FreedTask) => paused.has(task.jobId);
  await withholdTasks(
    client,
    freed.filter(isPaused).map(({ task }) => task.taskId),
  );
  return freed.filter((item) => !isPaused(item));
}
