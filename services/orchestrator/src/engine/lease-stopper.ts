/** Ends a lease that may not go on, and tells its agent to stop. */
import { NexusError } from "@nexus/shared";
import type { CancelReason } from "../domain/ports.ts";
import type { Ending } from "../domain/settlement.ts";
import type { LiveLease } from "./agent-entry.ts";
import type { EngineParts } from "./parts.ts";
import type { Settler } from "./settler.ts";

/** Ends the lease and, once that is committed, cancels it at its agent. What cannot be committed now is found again by
 * the next step of the loop that asked for it. Returns whether this call ended it. */
export async function stopLease(
  { parts, settler }: { readonly parts: EngineParts; readonly settler: Settler },
  { agent, lease }: LiveLease,
  ending: Ending,
  reason: CancelReason,
): Promise<boolean> {
  const { fence } = lease;
  const { taskId } = lease.task;
  try {
    const outcome = await settler.end({ taskId, fence, by: undefined, ending });
    if (outcome !== "COMMITTED") return false;
    if (agent.session !== undefined) {
      const { namespace, agentId } = agent;
      const session = { namespace, agentId, epoch: lease.agentEpoch };
      parts.dispatch.cancel(agent.session.router, session, { taskId, fence, reason });
    }
    return true;
  } catch (error) {
    if (!(error instanceof NexusError)) throw error;
    return false;
  }
}
