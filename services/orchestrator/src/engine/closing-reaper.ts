/** Fails tasks that took longer than their schedule_to_close_timeout, by the database's clock. */
import { JobDeltas } from "../domain/job-deltas.ts";
import { toFailure } from "../domain/settlement.ts";
import { isTerminalTaskState } from "../domain/task-state.ts";
import {
  closeWaiting,
  type DueClosing,
  findDueClosings,
  forgetClosings,
} from "../store/closing-store.ts";
import { applyEffects } from "../store/effects-store.ts";
import { movedByExpiry } from "./lease-orders.ts";
import { stopLease } from "./lease-stopper.ts";
import type { EngineParts } from "./parts.ts";
import type { Settler } from "./settler.ts";
import { growthOf } from "./task-ids.ts";

const MESSAGE = "The task was not done within its schedule_to_close_timeout.";

/** Owns the search; the settler and the ledger do the work. */
export class ClosingReaper {
  readonly #parts: EngineParts;
  readonly #settler: Settler;

  constructor(parts: EngineParts, settler: Settler) {
    this.#parts = parts;
    this.#settler = settler;
  }

  /** Fails what is over, cancels what of it runs, and forgets what had ended before; returns how many it dealt with. */
  async reap(): Promise<number> {
    if (this.#parts.ledger.ownership !== "owner") return 0;
    const { pool, ledger, limits } = this.#parts;
    const due = await findDueClosings(pool, [...ledger.shards.keys()], limits.reapBatchMax);
    const ended = due.filter(({ state }) => isTerminalTaskState(state));
    const waiting = due.filter(({ state }) => state === "READY");
    const running = due.filter(({ fence }) => fence > 0n);
    const forgotten = await forgetClosings(
      pool,
      ended.map(({ taskId }) => taskId),
    );
    const stopped = await Promise.all(running.map((closing) => this.#stop(closing)));
    const closed = await this.#closeWaiting(waiting.map(({ taskId }) => taskId));
    return forgotten + stopped.filter(Boolean).length + closed;
  }

  async #stop({ taskId, fence }: DueClosing): Promise<boolean> {
    // A lease that memory does not know is being claimed or ended at this moment: the next step finds it.
    const live = this.#parts.book.find(taskId, fence);
    if (live === undefined) return false;
    return stopLease(
      { parts: this.#parts, settler: this.#settler },
      live,
      { kind: "CLOSED", message: MESSAGE },
      "SCHEDULE_TO_CLOSE",
    );
  }

  async #closeWaiting(taskIds: readonly string[]): Promise<number> {
    if (taskIds.length === 0) return 0;
    const startedAtMs = this.#parts.nowMs();
    const failure = toFailure("SCHEDULE_TO_CLOSE", MESSAGE);
    const { closed } = await this.#parts.ledger.run(
      async (client) => {
        // Shards may have been given back since the tasks were found.
        const own = taskIds.filter((taskId) => this.#parts.ledger.owns(taskId));
        const closed = await closeWaiting(client, own, failure);
        const moved = closed.map((task) => movedByExpiry(task, failure));
        const maps = growthOf(this.#parts);
        return { closed, effects: await applyEffects(client, moved, new JobDeltas(), maps) };
      },
      ({ closed, effects }) => {
        for (const task of closed) this.#parts.queue.remove(task.taskId);
        const freed = effects.unblocked.map((task) => ({ task, delayMs: 0 }));
        this.#settler.follow(effects, freed);
      },
    );
    this.#parts.events.expired(closed.length);
    const seconds = (this.#parts.nowMs() - startedAtMs) / 1_000;
    this.#parts.events.flushed("expire", closed.length, seconds);
    return closed.length;
  }
}
