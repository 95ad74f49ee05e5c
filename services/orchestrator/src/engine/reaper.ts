/** Ends what is overdue, by the database's clock. Each step is bounded; loops repeat them. */

import { NexusError } from "@nexus/shared";
import { JobDeltas } from "../domain/job-deltas.ts";
import type { LiveTask } from "../domain/live-task.ts";
import { feedsMap } from "../domain/map.ts";
import { expireReady, findOverdueLeases, findOverdueReady } from "../store/due-store.ts";
import { applyEffects, type MovedTask } from "../store/effects-store.ts";
import type { EngineParts } from "./parts.ts";
import type { Settler } from "./settler.ts";
import { taskIdsOf } from "./task-ids.ts";

const TOO_LONG = "The attempt took longer than its start_to_close_timeout.";
const NO_AGENT = "No agent could take the task within its schedule_to_start_timeout.";

/** Owns the search; the settler and the ledger do the work. */
export class Reaper {
  readonly #parts: EngineParts;
  readonly #settler: Settler;
  /** Overdue leases of the last step that memory does not know. */
  #strangers = new Set<string>();

  constructor(parts: EngineParts, settler: Settler) {
    this.#parts = parts;
    this.#settler = settler;
  }

  /** Ends attempts that took too long, which costs them an attempt, and tells their agents to stop. */
  async reapDeadlines(): Promise<number> {
    if (this.#parts.ledger.ownership !== "owner") return 0;
    const overdue = await findOverdueLeases(
      this.#parts.pool,
      [...this.#parts.ledger.shards.keys()],
      this.#parts.limits.reapBatchMax,
    );
    this.#checkStrangers(overdue);
    await Promise.all(overdue.map((lease) => this.#endLate(lease)));
    return overdue.length;
  }

  /** A lease in the table that memory does not know is being claimed or ended at this moment. If it still is unknown
   * a step later, memory is wrong and is read anew. */
  #checkStrangers(overdue: readonly { readonly taskId: string; readonly fence: bigint }[]): void {
    const { book, ledger } = this.#parts;
    const unknown = overdue.filter(
      ({ taskId, fence }) => ledger.owns(taskId) && !book.find(taskId, fence),
    );
    const keys = unknown.map(({ taskId, fence }) => `${taskId}:${fence}`);
    const again = keys.some((key) => this.#strangers.has(key));
    this.#strangers = new Set(again ? [] : keys);
    if (!again) return;
    this.#parts.logger.error(
      { leases: keys.length },
      "leases are stored that memory does not know",
    );
    this.#parts.ledger.reload();
  }

  /** Fails tasks that found no agent in time. */
  async reapWaiting(): Promise<number> {
    if (this.#parts.ledger.ownership !== "owner") return 0;
    const ids = await findOverdueReady(
      this.#parts.pool,
      [...this.#parts.ledger.shards.keys()],
      this.#parts.limits.reapBatchMax,
    );
    if (ids.length === 0) return 0;
    const startedAtMs = this.#parts.nowMs();
    const { expired } = await this.#parts.ledger.run(
      async (client) => {
        const shards = [...this.#parts.ledger.shards.keys()];
        const expired = await expireReady(client, ids, { shards, message: NO_AGENT });
        const maps = { newTaskId: taskIdsOf(this.#parts) };
        const effects = await applyEffects(client, expired.map(toMoved), new JobDeltas(), maps);
        return { expired, effects };
      },
      ({ expired, effects }) => {
        for (const task of expired) this.#parts.queue.remove(task.taskId);
        const freed = effects.unblocked.map((task) => ({ task, delayMs: 0 }));
        this.#settler.follow(effects, freed);
      },
    );
    this.#parts.events.expired(expired.length);
    const seconds = (this.#parts.nowMs() - startedAtMs) / 1_000;
    this.#parts.events.flushed("expire", expired.length, seconds);
    return expired.length;
  }

  async #endLate({ taskId, fence }: { taskId: string; fence: bigint }): Promise<void> {
    const live = this.#parts.book.find(taskId, fence);
    if (live === undefined) return;
    const { agent, lease } = live;
    try {
      const ending = { kind: "DEADLINE" as const, message: TOO_LONG };
      const outcome = await this.#settler.end({ taskId, fence, by: undefined, ending });
      if (outcome === "STALE" || agent.session === undefined) return;
      const { namespace, agentId } = agent;
      this.#parts.dispatch.cancel(
        agent.session.router,
        { namespace, agentId, epoch: lease.agentEpoch },
        { taskId, fence, reason: "DEADLINE_EXCEEDED" },
      );
    } catch (error) {
      // Found again by the next step.
      if (!(error instanceof NexusError)) throw error;
    }
  }
}

function toMoved(task: LiveTask): MovedTask {
  return {
    from: "READY",
    sink: task.sink,
    feedsMap: feedsMap(task.spec),
    cancelsSiblings: task.spec.cancelSiblingsOnFailure ?? false,
    change: {
      kind: "task",
      jobId: task.jobId,
      taskId: task.taskId,
      taskKey: task.key,
      state: "FAILED",
      attempt: 0,
      agentId: "",
      failure: { reason: "NO_AGENT_IN_TIME", message: NO_AGENT, taskKey: "" },
    },
  };
}
