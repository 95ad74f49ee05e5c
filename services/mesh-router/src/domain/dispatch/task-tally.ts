/** Which tasks a session holds, as far as its router has seen. The orchestrator's leases are the truth; this only
 * says how busy the agent is and which assignments it never spoke about. */

import { PassingMap } from "@nexus/shared";
import type { AssignmentOrigin, CarriedLease } from "../message/carried.ts";

/** One task in the agent's hands. */
export interface HeldTask {
  readonly taskId: string;
  readonly fence: bigint;
  /** Slots of the agent that it takes. */
  readonly slots: number;
  /** Who assigned it: hears of a refusal, and of what the agent says. */
  origin: AssignmentOrigin;
  readonly handedAtMs: number;
  /** True once the agent said a word about it. */
  heard: boolean;
}

/** Counts the slots of an agent that tasks take, from what passes by, corrected by its heartbeats. */
export class TaskTally {
  readonly #held = new PassingMap<string, HeldTask>();
  #heldSlots = 0;
  /** Slots of those that each origin assigned; one that has none is absent. */
  readonly #byOrigin = new Map<AssignmentOrigin, number>();
  /** Slots of tasks that only the agent knows of: handed over before a restart of the router. */
  #unseen = 0;

  /** Slots taken by tasks in hand. */
  get busy(): number {
    return this.#heldSlots + this.#unseen;
  }

  /** Slots taken by tasks in hand that an origin assigned. */
  heldBy(origin: AssignmentOrigin): number {
    return this.#byOrigin.get(origin) ?? 0;
  }

  /** True while the task is in hand, under any lease. */
  has(taskId: string): boolean {
    return this.#held.has(taskId);
  }

  /** True while exactly this lease is in hand. */
  holds({ taskId, fence }: CarriedLease): boolean {
    return this.#held.get(taskId)?.fence === fence;
  }

  assign(task: Omit<HeldTask, "heard">): void {
    const older = this.#held.get(task.taskId);
    if (older !== undefined) this.#drop(older);
    this.#held.set(task.taskId, { ...task, heard: false });
    this.#heldSlots += task.slots;
    this.#count(task.origin, task.slots);
  }

  /** A lease in hand was assigned again: from now on that one hears of it. False when it is not in hand. */
  adopt({ taskId, fence }: CarriedLease, origin: AssignmentOrigin): boolean {
    const task = this.#held.get(taskId);
    if (task?.fence !== fence) return false;
    this.#count(task.origin, -task.slots);
    task.origin = origin;
    this.#count(origin, task.slots);
    return true;
  }

  /** The agent spoke about a lease and still holds it. Returns who assigned it; undefined when nobody knows. */
  hear(taskId: string, fence: bigint): AssignmentOrigin | undefined {
    const task = this.#held.get(taskId);
    if (task?.fence !== fence) return undefined;
    task.heard = true;
    return task.origin;
  }

  /** The lease ended by a terminal update. Returns who assigned it; undefined when nobody knows (any more). What an unseen
   * one took is not known; the next heartbeat says. */
  end(taskId: string, fence: bigint): AssignmentOrigin | undefined {
    const task = this.#held.get(taskId);
    if (task === undefined) this.#unseen = Math.max(0, this.#unseen - 1);
    if (task?.fence !== fence) return undefined;
    this.#drop(task);
    return task.origin;
  }

  /** A cancel ends only what was seen: the agent may still be stopping the rest. */
  cancel(taskId: string, fence: bigint): void {
    const task = this.#held.get(taskId);
    if (task?.fence === fence) this.#drop(task);
  }

  /** Corrects the count by a heartbeat. An idle agent holds nothing that it took `settleMs` ago or earlier; what it
   * never spoke about may still be on its way to it. */
  reconcile(reportedBusy: number, nowMs: number, settleMs: number): void {
    if (reportedBusy === 0) {
      for (const task of this.#held.values()) {
        if (task.heard && nowMs - task.handedAtMs >= settleMs) this.#drop(task);
      }
    }
    this.#unseen = Math.max(0, reportedBusy - this.#heldSlots);
  }

  /** Takes out the tasks that the agent never spoke about. */
  takeUnheard(): HeldTask[] {
    const unheard = this.#held.values().filter((task) => !task.heard);
    for (const task of unheard) this.#drop(task);
    return unheard;
  }

  /** Takes out everything: the session is over. */
  clear(): void {
    this.#held.clear();
    this.#heldSlots = 0;
    this.#byOrigin.clear();
    this.#unseen = 0;
  }

  #drop({ taskId, origin, slots }: HeldTask): void {
    this.#held.delete(taskId);
    this.#heldSlots -= slots;
    this.#count(origin, -slots);
  }

  #count(origin: AssignmentOrigin, change: number): void {
    const slots = this.heldBy(origin) + change;
    if (slots > 0) this.#byOrigin.set(origin, slots);
    else this.#byOrigin.delete(origin);
  }
}
