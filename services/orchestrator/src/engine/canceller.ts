/** Cancels jobs. */
import { NexusError } from "@nexus/shared";
import type { Dispositions, JobView } from "../domain/job.ts";
import type { JobChange, JobEvents, TaskChange } from "../domain/job-event.ts";
import { isTerminalJobState } from "../domain/job-state.ts";
import { toFailure } from "../domain/settlement.ts";
import { type CancelledJob, cancelJob, holdJob, readDispositions } from "../store/cancel-store.ts";
import { appendEvents } from "../store/event-store.ts";
import { readJob } from "../store/job-reader.ts";
import { notOwner } from "../store/writer-session.ts";
import type { AgentEntry } from "./agent-entry.ts";
import type { EngineParts } from "./parts.ts";
import { publish } from "./publish.ts";
import { type JobOrder, recordOnce } from "./recorded-request.ts";
import { dropStoppedTasks } from "./stopped-tasks.ts";

/** Why and on whose behalf a job is cancelled. */
export interface CancelOrder extends JobOrder {
  /** For people; may be empty. */
  readonly reason: string;
}

/** What one transaction did. */
interface Flushed {
  readonly job: JobView;
  readonly dispositions: Dispositions;
  readonly cancelled: CancelledJob | undefined;
  readonly events: readonly JobEvents[];
  readonly isRepeat: boolean;
}

/** What the canceller needs beside the shared parts. */
export interface CancellerDeps {
  readonly parts: EngineParts;
  /** The agent has a slot free. */
  readonly onReleased: (agent: AgentEntry) => void;
}

/** Makes the error for a job that the caller's namespace does not have. */
export function jobNotFound(): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "JOB_NOT_FOUND",
    message: "There is no such job in this namespace.",
  });
}

/** Owns the cancelling of jobs. */
export class Canceller {
  readonly #parts: EngineParts;
  readonly #deps: CancellerDeps;

  constructor(deps: CancellerDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
  }

  /** Cancels a job, committed before it answers, and tells the agents at once. A terminal job is left as it is.
   *
   * Errors: not_found/JOB_NOT_FOUND; conflict/REQUEST_ID_REUSED; unavailable/NOT_OWNER. */
  async cancel(order: CancelOrder): Promise<Pick<Flushed, "job" | "dispositions">> {
    const startedAtMs = this.#parts.nowMs();
    const { job, dispositions } = await this.#parts.ledger.run(
      async (client): Promise<Flushed> => {
        if (!this.#parts.ledger.owns(order.jobId)) throw notOwner("Another replica owns the job.");
        const state = await holdJob(client, order.namespace, order.jobId);
        if (state === undefined) throw jobNotFound();
        const earlier = await recordOnce(client, "CancelJob", order);
        const open = !isTerminalJobState(state);
        const message = order.reason === "" ? "The job was cancelled." : order.reason;
        const cancelled = open
          ? await cancelJob(client, order.jobId, toFailure("JOB_CANCELLED", message))
          : undefined;
        const events = await appendEvents(client, changesOf(cancelled));
        const dispositions = await readDispositions(client, order.jobId);
        const job = await readJob(client, order.namespace, order.jobId);
        if (job === undefined) throw jobNotFound();
        return { job, dispositions, cancelled, events, isRepeat: earlier !== undefined };
      },
      (flushed) => {
        if (!flushed.isRepeat) order.leaf?.stored();
        this.#apply(order.namespace, flushed);
      },
    );
    const seconds = (this.#parts.nowMs() - startedAtMs) / 1_000;
    this.#parts.events.flushed("cancel", 1, seconds);
    return { job, dispositions };
  }

  #apply(namespace: string, { cancelled, events }: Flushed): void {
    if (cancelled === undefined) return;
    const { tasks } = cancelled;
    const blocked = tasks.filter(({ from }) => from === "BLOCKED").length;
    this.#parts.backlog.addBlocked(namespace, -blocked);
    const changes = tasks.map(({ change }) => change);
    dropStoppedTasks(this.#parts, changes, "JOB_CANCELLED", ({ agent, lease }) => {
      agent.forgetProbe(lease.task, this.#parts.nowMs());
      this.#deps.onReleased(agent);
    });
    publish(this.#parts, events);
  }
}

function changesOf(cancelled: CancelledJob | undefined): (TaskChange | JobChange)[] {
  if (cancelled === undefined) return [];
  return [...cancelled.tasks.map(({ change }) => change), cancelled.job];
}
