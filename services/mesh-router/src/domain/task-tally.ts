/** Which tasks a session holds, as far as its router has seen. The orchestrator's leases are the truth; this only
 * says how busy the agent is and which assignments it never spoke about. */

import type { AssignmentOrigin } from "./carried.ts";

/** One task in the agent's hands. */
export interface HeldTask {
  readonly taskId: string;
  readonly fence: bigint;
  /** Who assigned it, to hear of a refusal. */
  readonly origin: AssignmentOrigin;
  readonly handedAtMs: number;
  /** True once the agent said a word about it. */
  heard: boolean;
}

/** Counts an agent's tasks from what passes by, corrected by its heartbeats. */
export class TaskTally {
  readonly #held = new Map<string, HeldTask>();
  /** Tasks that only the agent knows of: handed over before a restart of the router. */
  #unseen = 0;

  /** Tasks in hand. */
  get busy(): number {
    return this.#held.size + this.#unseen;
  }

  assign(task: Omit<HeldTask, "heard">): void {
    this.#held.set(task.taskId, { ...task, heard: false });
  }

  /** The agent spoke about a lease and still holds it. */
  hear(taskId: string, fence: bigint): void {
    const task = this.#held.get(taskId);
    if (task?.fence === fence) task.heard = true;
  }

  /** The lease ended: by a terminal update, a cancel, or because it never reached the agent. */
  end(taskId: string, fence: bigint): void {
    const task = this.#held.get(taskId);
    if (task === undefined) this.#unseen = Math.max(0, this.#unseen - 1);
    else if (task.fence === fence) this.#held.delete(taskId);
  }

  /** A cancel ends only what was seen: the agent may still be stopping the rest. */
  cancel(taskId: string, fence: bigint): void {
    if (this.#held.get(taskId)?.fence === fence) this.#held.delete(taskId);
  }

  /** Corrects the count by a heartbeat. An idle agent holds nothing that it took `settleMs` ago or earlier; what it
   * never spoke about may still be on its way to it. */
  reconcile(reportedBusy: number, nowMs: number, settleMs: number): void {
    if (reportedBusy === 0) {
      for (const task of this.#held.values()) {
        if (task.heard && nowMs - task.handedAtMs >= settleMs) this.#held.delete(task.taskId);
      }
    }
    this.#unseen = Math.max(0, reportedBusy - this.#held.size);
  }

  /** Takes out the tasks that the agent never spoke about. */
  takeUnheard(): HeldTask[] {
    const unheard = [...this.#held.values()].filter((task) => !task.heard);
    for (const { taskId } of unheard) this.#held.delete(taskId);
    return unheard;
  }

  /** Takes out everything: the session is over. */
  clear(): void {
    this.#held.clear();
    this.#unseen = 0;
  }
}
