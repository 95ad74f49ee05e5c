/** Lets whoever writes in the name of a task write only while it holds the task. */
import { type Cache, type Clock, createLruCache, NexusError } from "@nexus/shared";
import { LEASES_KNOWN_MAX } from "../limits.ts";
import type { LeaseAnswer, LeaseClaim, LeasePort } from "../message/lease-gate.ts";

/** Remembers answers for as long as they say, which is a second at most; claims of one moment share a call. */
export class TaskFence {
  readonly #leases: LeasePort;
  readonly #answers: Cache<string, LeaseAnswer>;

  constructor(leases: LeasePort, clock: Clock) {
    this.#leases = leases;
    this.#answers = createLruCache({ max: LEASES_KNOWN_MAX, clock });
  }

  /** Errors: conflict/LEASE_LOST; unavailable/LEASE_UNVERIFIED: who cannot ask must refuse. */
  async assertHolds(claim: LeaseClaim): Promise<void> {
    const { namespace, agentId, taskId, fence } = claim;
    const name = JSON.stringify([namespace, agentId, taskId, String(fence)]);
    const { valid, reason } = this.#answers.get(name) ?? (await this.#ask(name, claim));
    if (valid) return;
    throw new NexusError({
      kind: "conflict",
      reason: "LEASE_LOST",
      message: "The caller does not hold the task that it writes for.",
      details: { metadata: { lease: reason } },
    });
  }

  async #ask(name: string, claim: LeaseClaim): Promise<LeaseAnswer> {
    let answer: LeaseAnswer;
    try {
      answer = await this.#leases.check(claim);
    } catch (cause) {
      throw new NexusError({
        kind: "unavailable",
        reason: "LEASE_UNVERIFIED",
        message: "The orchestrator cannot be asked who holds the task.",
        cause,
      });
    }
    if (answer.cacheForMs > 0) this.#answers.set(name, answer, answer.cacheForMs);
    return answer;
  }
}
