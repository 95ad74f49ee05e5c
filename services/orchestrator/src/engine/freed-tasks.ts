/** Which tasks wait for an agent after leases ended: freed ones, those to be tried again, those of a plan. */
import type { LiveTask } from "../domain/live-task.ts";
import type { Settlement } from "../domain/settlement.ts";
import { readyTasks } from "../domain/task-plan.ts";
import type { Effects } from "../store/effects-store.ts";
import type { Settled } from "../store/settle-store.ts";
import type { LiveLease } from "./agent-entry.ts";
import type { EndedLease } from "./lease-orders.ts";

/** A task on its way into the queue. */
export interface FreedTask {
  readonly task: LiveTask;
  readonly delayMs: number;
  /** Until when it may wait for an agent, monotonic milliseconds, where that was known before. */
  readonly startByMs?: number;
}

/** Collects what a batch made ready; without what the same batch cancelled. */
export function freedTasks(
  ended: readonly EndedLease[],
  settled: Settled,
  effects: Effects,
): FreedTask[] {
  const freed: FreedTask[] = effects.unblocked.map((task) => ({ task, delayMs: 0 }));
  for (let index = 0; index < settled.length; index += 1) {
    const stored = settled[index];
    if (stored === undefined) continue;
    const { live, order, settlement } = ended[index] as EndedLease;
    if (settlement.event === "REQUEUE") {
      const task = nextAttempt(live, settlement, stored.readyAtMs);
      freed.push({ task, delayMs: settlement.delayMs });
    }
    if (order.plan === undefined) continue;
    const { traceparent } = live.lease.task;
    // The tasks of a plan were made with this end.
    for (const task of readyTasks(order.plan.tasks, stored.endedAtMs, traceparent)) {
      freed.push({ task, delayMs: 0 });
    }
  }
  if (effects.cancelled.length === 0) return freed;
  const cancelled = new Set(effects.cancelled.map((change) => change.taskId));
  return freed.filter(({ task }) => !cancelled.has(task.taskId));
}

/** The task as it waits for its next attempt. A refused one goes to its fallback if it can. */
function nextAttempt({ lease }: LiveLease, settlement: Settlement, readyAtMs: number): LiveTask {
  const refused = settlement.failure?.reason === "ASSIGNMENT_REFUSED";
  const crowded = settlement.crowded === true;
  // What a pause had left of its wait was for the attempt that has ended.
  const { waitMs: _wait, isNew: _new, ...task } = lease.task;
  return {
    ...task,
    attempts: lease.attempt,
    charged: lease.task.charged + (settlement.charged ? 1 : 0),
    readyAtMs,
    ...(crowded ? { crowded: (lease.task.crowded ?? 0) + 1 } : {}),
    ...(settlement.loss ? { losses: (lease.task.losses ?? 0) + 1 } : {}),
    avoidAgentId: crowded ? lease.task.avoidAgentId : lease.agentId,
    preferAgentId: refused ? lease.fallbackAgentId : "",
  };
}
