/** Whether a claim to hold a lease is true, and for how long that may be believed. */

/** What an agent says of itself. */
export interface LeaseClaim {
  readonly namespace: string;
  readonly taskId: string;
  readonly fence: bigint;
  /** Empty when any holder will do. */
  readonly agentId: string;
}

/** What is known of the lease that a claim names. */
export type LeaseStanding =
  | {
      readonly kind: "live";
      readonly namespace: string;
      readonly agentId: string;
      readonly jobId: string;
      /** Milliseconds until start_to_close ends it. */
      readonly remainingMs: number;
    }
  /** It was granted once. A fence never comes back, so this stays true. */
  | { readonly kind: "over"; readonly namespace: string }
  /** No such lease of the task is known, so far. */
  | { readonly kind: "unknown"; readonly namespace: string }
  | { readonly kind: "no_task" };

/** Why a claim is not true. */
export type LeaseRefusal = "LEASE_LOST" | "NOT_HOLDER" | "TASK_NOT_FOUND";

/** The answer to a claim. */
export interface LeaseVerdict {
  readonly reason: LeaseRefusal | undefined;
  readonly cacheForMs: number;
  /** Empty unless the claim is true. */
  readonly agentId: string;
  readonly jobId: string;
}

/** A lease may end before its deadline (a cancel, a lost session), and nobody is told: so long does a kept answer let a
 * stale agent go on at most. As long as a revoked token may (DESIGN section 5). */
export const LEASE_CACHE_MAX_MS = 1_000;
/** What is over stays over; bounded only so that caches forget. */
export const LEASE_OVER_CACHE_MS = 60_000;

/** Judges one claim. */
export function judgeClaim(claim: LeaseClaim, standing: LeaseStanding): LeaseVerdict {
  if (standing.kind === "no_task" || standing.namespace !== claim.namespace) {
    return refuse("TASK_NOT_FOUND", 0);
  }
  if (standing.kind === "over") return refuse("LEASE_LOST", LEASE_OVER_CACHE_MS);
  // Past its deadline it is over, even if the reaper has not come round yet.
  if (standing.kind === "unknown" || standing.remainingMs <= 0) return refuse("LEASE_LOST", 0);
  const cacheForMs = Math.min(Math.floor(standing.remainingMs), LEASE_CACHE_MAX_MS);
  if (claim.agentId !== "" && claim.agentId !== standing.agentId) {
    return refuse("NOT_HOLDER", cacheForMs);
  }
  return { reason: undefined, cacheForMs, agentId: standing.agentId, jobId: standing.jobId };
}

function refuse(reason: LeaseRefusal, cacheForMs: number): LeaseVerdict {
  return { reason, cacheForMs, agentId: "", jobId: "" };
}
