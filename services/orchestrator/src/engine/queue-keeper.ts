/** Puts tasks into the queue and wakes whoever looks at it. */
import type { LiveTask } from "../domain/live-task.ts";
import type { EngineParts } from "./parts.ts";
import type { Scheduler } from "./scheduler.ts";

/** Adds tasks that wait for an agent, each after its own delay. */
export function enqueue(
  parts: EngineParts,
  scheduler: Scheduler,
  tasks: readonly { readonly task: LiveTask; readonly delayMs: number }[],
): void {
  let delayed = false;
  for (const { task, delayMs } of tasks) {
    if (delayMs <= 0) {
      scheduler.wakeLane(parts.queue.add(task, parts.nowMs()));
    } else {
      parts.queue.addDelayed(task, parts.nowMs() + delayMs);
      delayed = true;
    }
  }
  if (delayed) scheduler.delayedAdded();
}
