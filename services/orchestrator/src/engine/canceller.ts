/** Cancels jobs. */
import { NexusError } from "@nexus/shared";
import type { JobView } from "../domain/job.ts";
import type { JobEvent } from "../domain/job-event.ts";
import { isTerminalJobState } from "../domain/job-state.ts";
import { toFailure } from "../domain/settlement.ts";
import { type Cancelled, cancelTasks, holdJob } from "../store/cancel-store.ts";
import { appendEvents } from "../store/event-store.ts";
import { readJob } from "../store/job-reader.ts";
import { type RequestRecord, recordRequests, requestKey } from "../store/request-store.ts";
import { notOwner } from "../store/writer-session.ts";
import type { AgentEntry } from "./agent-entry.ts";
import type { EngineParts } from "./parts.ts";
import { publish } from "./publish.ts";

/** Why and on whose behalf a job is cancelled. */
export interface CancelOrder {
  readonly namespace: string;
  readonly principalId: string;
  readonly requestId: string;
  readonly bodyHash: Uint8Array;
  readonly jobId: string;
  /** For people; may be empty. */
  readonly reason: string;
}

/** What one transaction did. */
interface Flushed {
  readonly job: JobView;
  readonly cancelled: Cancelled | undefined;
  readonly events: readonly JobEvent[];
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
  async cancel(order: CancelOrder): Promise<JobView> {
    const startedAtMs = this.#parts.nowMs();
    const { job } = await this.#parts.ledger.run(
      async (client): Promise<Flushed> => {
        if (!this.#parts.ledger.owns(order.jobId)) throw notOwner("Another replica owns the job.");
        const state = await holdJob(client, order.namespace, order.jobId);
        if (state === undefined) throw jobNotFound();
        await this.#record(client, order);
        const open = !isTerminalJobState(state);
        const message = order.reason === "" ? "The job was cancelled." : order.reason;
        const cancelled = open
          ? await cancelTasks(client, order.jobId, toFailure("JOB_CANCELLED", message))
          : undefined;
        const events = await appendEvents(client, cancelled?.changes ?? []);
        const job = await readJob(client, order.namespace, order.jobId);
        if (job === undefined) throw jobNotFound();
        return { job, cancelled, events };
      },
      (flushed) => this.#apply(order.namespace, flushed),
    );
    const seconds = (this.#parts.nowMs() - startedAtMs) / 1_000;
    this.#parts.events.flushed("cancel", 1, seconds);
    return job;
  }

  async #record(client: Parameters<typeof holdJob>[0], order: CancelOrder): Promise<void> {
    const { namespace, principalId, requestId, bodyHash, jobId } = order;
    const method = "CancelJob" as const;
    const record: RequestRecord = { namespace, principalId, requestId, method, bodyHash, jobId };
    const earlier = (await recordRequests(client, [record])).get(requestKey(record));
    if (earlier === undefined) return;
    if (earlier.method === method && Buffer.compare(earlier.bodyHash, bodyHash) === 0) return;
    throw new NexusError({
      kind: "conflict",
      reason: "REQUEST_ID_REUSED",
      message: "The request id was used before with another body.",
    });
  }

  #apply(namespace: string, { cancelled, events }: Flushed): void {
    if (cancelled === undefined) return;
    const { queue, backlog, book, dispatch } = this.#parts;
    backlog.addBlocked(namespace, -cancelled.blocked);
    for (const change of cancelled.changes) {
      if (change.kind !== "task") continue;
      queue.remove(change.taskId);
      const live = book.remove(change.taskId);
      if (live === undefined) continue;
      const { agent, lease } = live;
      agent.forgetProbe(lease.task.spec.capability, this.#parts.nowMs());
      if (agent.session !== undefined) {
        const { agentId } = agent;
        dispatch.cancel(
          agent.session.router,
          { namespace, agentId, epoch: lease.agentEpoch },
          { taskId: change.taskId, fence: lease.fence, reason: "JOB_CANCELLED" },
        );
      }
      this.#deps.onReleased(agent);
    }
    publish(this.#parts, events);
  }
}
