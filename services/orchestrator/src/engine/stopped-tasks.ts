/** What a cancel means for memory: nobody waits for the task any more, and an agent that runs it is told to stop. */
import type { TaskChange } from "../domain/job-event.ts";
import type { CancelReason } from "../domain/ports.ts";
import type { LiveLease } from "./agent-entry.ts";
import type { EngineParts } from "./parts.ts";

/** Takes cancelled tasks out of queue and book, once that is committed, and tells their agents at once. An agent whose
 * session is not there is told in answer to its next word. */
export function dropStoppedTasks(
  parts: EngineParts,
  changes: readonly TaskChange[],
  reason: CancelReason,
  onReleased: (live: LiveLease) => void,
): void {
  for (const { taskId } of changes) {
    parts.queue.remove(taskId);
    const live = parts.book.remove(taskId);
    if (live === undefined) continue;
    const { agent, lease } = live;
    if (agent.session !== undefined) {
      const { namespace, agentId } = agent;
      parts.dispatch.cancel(
        agent.session.router,
        { namespace, agentId, epoch: lease.agentEpoch },
        { taskId, fence: lease.fence, reason },
      );
    }
    onReleased(live);
  }
}
