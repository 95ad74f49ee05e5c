/** Puts tasks into the queue and wakes whoever looks at it. */
import type { WaitingTask } from "../domain/waiting-task.ts";
import type { FreedTask } from "./freed-tasks.ts";
import type { EngineParts } from "./parts.ts";
import type { Scheduler } from "./scheduler.ts";

/** Adds tasks that wait for an agent, each after its own delay. */
export function enqueue(
  parts: EngineParts,
  scheduler: Scheduler,
  tasks: readonly FreedTask[],
): void {
  const nowMs = parts.nowMs();
  let delayed = false;
  for (const { task, delayMs, startByMs } of tasks) {
    if (delayMs <= 0) {
      scheduler.wakeLane(parts.queue.add(task, nowMs));
    } else {
      parts.queue.addDelayed(task, nowMs + delayMs, startByMs);
      delayed = true;
    }
  }
  if (delayed) scheduler.delayedAdded();
}

/** Adds tasks as they were read from the tables. */
export function adopt(
  parts: EngineParts,
  scheduler: Scheduler,
  tasks: readonly WaitingTask[],
): void {
  const nowMs = parts.nowMs();
  let delayed = false;
  for (const task of tasks) {
    const lane = parts.queue.adopt(task, nowMs);
    if (lane === undefined) delayed = true;
    else scheduler.wakeLane(lane);
  }
  if (delayed) scheduler.delayedAdded();
}
