/** Fails tasks that found no agent in time, by the database's clock. */
import { JobDeltas } from "../domain/job-deltas.ts";
import { toFailure } from "../domain/settlement.ts";
import { expireReady, judgeWaits } from "../store/due-store.ts";
import { applyEffects } from "../store/effects-store.ts";
import { movedByExpiry } from "./lease-orders.ts";
import type { EngineParts } from "./parts.ts";
import type { Settler } from "./settler.ts";
import { growthOf } from "./task-ids.ts";
import { WaitReasons } from "./wait-reasons.ts";

/** Owns the search; the ledger does the work. */
export class WaitingReaper {
  readonly #parts: EngineParts;
  readonly #settler: Settler;
  /** Overdue tasks of the last step that wait in memory and not as stored. */
  #ghosts: ReadonlySet<string> = new Set();

  constructor(parts: EngineParts, settler: Settler) {
    this.#parts = parts;
    this.#settler = settler;
  }

  /** Fails tasks that found no agent in time; returns how many it looked at, or 0 when it failed none. Memory says which may be meant, so that nothing is asked while none
   * is; the database says whether they are. */
  async reap(): Promise<number> {
    const { ledger, queue, pool, limits } = this.#parts;
    if (ledger.ownership !== "owner") return 0;
    const due = queue.overdue(this.#parts.nowMs(), limits.reapBatchMax);
    if (due.length === 0) return 0;
    const { overdue, ended } = await judgeWaits(pool, due);
    const ghosts = ended.filter((taskId) => queue.has(taskId));
    const isSure = ghosts.some((taskId) => this.#ghosts.has(taskId));
    this.#ghosts = new Set(isSure ? [] : ghosts);
    if (isSure) this.#reload(ghosts.length, "tasks wait in memory that do not as stored");
    const expired = overdue.length === 0 ? 0 : await this.#expire(overdue);
    // A full look leaves others, also where one of them was not overdue as stored.
    return expired === 0 ? 0 : due.length;
  }

  #reload(tasks: number, complaint: string): void {
    this.#parts.logger.error({ tasks }, complaint);
    this.#parts.ledger.reload();
  }

  async #expire(taskIds: readonly string[]): Promise<number> {
    const { ledger, events, queue } = this.#parts;
    const startedAtMs = this.#parts.nowMs();
    const reasons = new WaitReasons(this.#parts);
    const { expired } = await ledger.run(
      async (client) => {
        // Shards may have been given back since they were judged.
        const own = taskIds.filter((taskId) => ledger.owns(taskId));
        const messages = new Map(own.map((id) => [id, reasons.messageFor(queue.find(id))]));
        const expired = await expireReady(client, messages);
        const moved = expired.map((task) =>
          movedByExpiry(task, toFailure("NO_AGENT_IN_TIME", messages.get(task.taskId) ?? "")),
        );
        const maps = growthOf(this.#parts);
        return { expired, effects: await applyEffects(client, moved, new JobDeltas(), maps) };
      },
      ({ expired, effects }) => {
        for (const task of expired) this.#parts.queue.remove(task.taskId);
        const freed = effects.unblocked.map((task) => ({ task, delayMs: 0 }));
        this.#settler.follow(effects, freed);
      },
    );
    events.expired(expired.length);
    events.flushed("expire", expired.length, (this.#parts.nowMs() - startedAtMs) / 1_000);
    return expired.length;
  }
}
