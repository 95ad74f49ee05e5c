/** Pauses jobs and lets them go on. */
import type { Queryable } from "@nexus/postgres";
import type { JobView } from "../domain/job.ts";
import type { JobEvents } from "../domain/job-event.ts";
import { type JobState, nextJobState, resumeEventOf } from "../domain/job-state.ts";
import { holdJob } from "../store/cancel-store.ts";
import { appendEvents } from "../store/event-store.ts";
import { readJob } from "../store/job-reader.ts";
import {
  pauseJob,
  readProgress,
  readWithheld,
  resumeJob,
  withholdTasks,
} from "../store/pause-store.ts";
import { notOwner } from "../store/writer-session.ts";
import { jobNotFound } from "./canceller.ts";
import type { FreedTask } from "./freed-tasks.ts";
import type { EndedLease } from "./lease-orders.ts";
import type { EngineParts } from "./parts.ts";
import { publish } from "./publish.ts";
import { type JobOrder, recordOnce } from "./recorded-request.ts";

/** What one transaction did. */
interface Flushed<T> {
  readonly job: JobView;
  readonly events: readonly JobEvents[];
  readonly moved: readonly T[];
  readonly isRepeat: boolean;
}

/** What the pauser needs beside the shared parts. */
export interface PauserDeps {
  readonly parts: EngineParts;
  readonly onReady: (tasks: readonly FreedTask[]) => void;
}

/** Moves jobs into the set of paused ones and out of it. Ready tasks of theirs are not in memory, and their rows say that they are withheld. */
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
        const { jobId, namespace } = order;
        this.#parts.paused.add({ jobId, namespace, tasks: taskIds.length });
        for (const taskId of taskIds) this.#parts.queue.remove(taskId);
      },
    );
  }

  /** Lets a paused job go on where it was; any other is left as it is. It is never refused for want of room: what it withheld has been counted
   * with what waits. Errors: as pause(). */
  resume(order: JobOrder): Promise<JobView> {
    return this.#run<FreedTask>(
      "ResumeJob",
      order,
      async (client, state) => {
        if (state !== "PAUSED") return undefined;
        const next = nextJobState(state, resumeEventOf(await readProgress(client, order.jobId)));
        const moved = await resumeJob(client, order.jobId, next);
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

/** What of freed tasks goes on, and how many tasks paused jobs withhold since. */
export interface Withheld {
  readonly freed: readonly FreedTask[];
  /** By job, of those that moved. */
  readonly withheld: ReadonlyMap<string, number>;
}

const NOTHING_WITHHELD: Withheld["withheld"] = new Map();

/** Withholds those of the freed tasks whose job is paused, in the transaction that ended these leases and freed these tasks.
 *
 * Cost: nothing while no job is paused; else 1 statement when one of the jobs is, 2 more when tasks of it were freed. */
export async function withholdPaused(
  { paused }: EngineParts,
  client: Queryable,
  ended: readonly EndedLease[],
  freed: readonly FreedTask[],
): Promise<Withheld> {
  if (paused.size === 0) return { freed, withheld: NOTHING_WITHHELD };
  const moved = ended.map(({ live }) => live.lease.task.jobId).filter((id) => paused.has(id));
  if (moved.length === 0) return { freed, withheld: NOTHING_WITHHELD };
  const isPaused = ({ task }: FreedTask) => paused.has(task.jobId);
  await withholdTasks(
    client,
    freed.filter(isPaused).map(({ task }) => task.taskId),
  );
  // Counted anew: a failure may have cancelled what was withheld.
  const withheld = await readWithheld(client, moved);
  return { freed: freed.filter((item) => !isPaused(item)), withheld };
}
