/** Ends leases at the orchestrator's own word. */
import type { Logger } from "@nexus/shared";
import type { Ending } from "../domain/settlement.ts";
import type { LiveLease } from "./agent-entry.ts";
import type { Settler } from "./settler.ts";

/** Orders the end of a lease; false when one waits to be stored already. */
export type EndLease = (live: LiveLease, ending: Ending) => boolean;

/** Makes what orders ends. The first end of a lease counts, and the database may have no room for long: another order would only take
 * the place of an agent's word in the queue. */
export function createLeaseEnder(settler: Pick<Settler, "end">, logger: Logger): EndLease {
  const waiting = new WeakSet<LiveLease>();
  return (live, ending) => {
    if (waiting.has(live)) return false;
    waiting.add(live);
    const { task, fence } = live.lease;
    settler
      .end({ taskId: task.taskId, fence, by: undefined, ending })
      .catch((error: unknown) => {
        // An assignment that was refused is sent again, and refused again or not.
        live.sent = false;
        logger.warn(
          { err: error, task_id: task.taskId },
          "a lease could not be ended; its next refusal, the loss of its agent or its deadline will",
        );
      })
      .finally(() => waiting.delete(live));
    return true;
  };
}
