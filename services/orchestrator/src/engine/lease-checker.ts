/** Answers whether leases hold: from memory what this process owns, from the database what it does not know. */
import {
  judgeClaim,
  type LeaseClaim,
  type LeaseStanding,
  type LeaseVerdict,
} from "../domain/lease-check.ts";
import { isTaskId } from "../domain/public-ids.ts";
import { leaseKey, readStandings } from "../store/lease-reader.ts";
import type { EngineParts } from "./parts.ts";

/** Owns nothing. */
export class LeaseChecker {
  readonly #parts: EngineParts;
  readonly #isCutOff: () => boolean;

  /** `isCutOff` is true while others may have put this replica out without its knowing. */
  constructor(parts: EngineParts, isCutOff: () => boolean) {
    this.#parts = parts;
    this.#isCutOff = isCutOff;
  }

  /** Judges claims, in their order. Any replica can: one that owns nothing asks the database for all of them.
   *
   * Errors: unavailable/DATABASE_UNAVAILABLE when the answer is not in memory and the database is away.
   * Cost: no statement when memory knows every lease, else 1. */
  async check(claims: readonly LeaseClaim[]): Promise<LeaseVerdict[]> {
    const held = claims.map((claim) => this.#findHeld(claim));
    const unsure = claims.filter((claim, i) => held[i] === undefined && isTaskId(claim.taskId));
    const stored = await readStandings(this.#parts.pool, unsure);
    return claims.map((claim, i) =>
      judgeClaim(claim, held[i] ?? stored.get(leaseKey(claim)) ?? { kind: "no_task" }),
    );
  }

  /** What memory says; undefined when the tables have to. Memory counts only while this process surely may write. */
  #findHeld({ taskId, fence }: LeaseClaim): LeaseStanding | undefined {
    if (this.#parts.ledger.ownership !== "owner" || this.#isCutOff()) return undefined;
    const live = this.#parts.book.find(taskId, fence);
    if (live === undefined) return undefined;
    const { agent, lease } = live;
    const { namespace, jobId } = lease.task;
    const superseded = agent.session !== undefined && agent.session.epoch > lease.agentEpoch;
    // Its session is over; that the lease is too only waits for its commit.
    if (superseded || lease.agentEpoch <= agent.endedEpoch) return { kind: "over", namespace };
    const remainingMs = live.deadlineAtMs - this.#parts.nowMs();
    return { kind: "live", namespace, agentId: lease.agentId, jobId, remainingMs };
  }
}
