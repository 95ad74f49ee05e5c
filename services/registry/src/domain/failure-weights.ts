/** Which failures are the agent's doing, as data. */

/** How much of a failure one reason puts on the agent: 1 all of it, 0 none. Reasons that are not listed, an agent's own
 * among them, count in full: an agent that fails is not excused by inventing a word for it. */
export const FAILURE_WEIGHTS: Readonly<Record<string, number>> = {
  // Somebody changed their mind, or work it depended on failed.
  CANCELLED: 0,
  JOB_CANCELLED: 0,
  UPSTREAM_FAILED: 0,
  SIBLING_FAILED: 0,
  // It never got the task, or gave it back in an orderly way.
  NO_AGENT_IN_TIME: 0,
  ASSIGNMENT_REFUSED: 0,
  NO_SESSION: 0,
  EPOCH_MISMATCH: 0,
  DETACHED: 0,
  DRAINING: 0,
  NO_SLOT: 0,
  RELEASED: 0,
  // The lease ended under it; whoever holds the task now is judged by it.
  LEASE_LOST: 0,
  // The task itself was at fault.
  INPUT_TOO_LARGE: 0,
  // Its connection broke: the network's doing or its own crash, and nobody can tell.
  AGENT_LOST: 0.5,
  MAX_LOSSES: 0.5,
  SESSION_TOO_SLOW: 0.5,
};

/** Share of a failure with this reason that counts against the agent, 0 to 1. */
export function failureWeightOf(reason: string): number {
  return Object.hasOwn(FAILURE_WEIGHTS, reason) ? (FAILURE_WEIGHTS[reason] ?? 1) : 1;
}
