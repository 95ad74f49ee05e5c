import { type Cache, type Clock, createLruCache, type Namespace } from "@nexus/shared";
import { leaseLost } from "./secret-errors.ts";

/** In the name of which task somebody reads. */
export interface SecretTask {
  readonly taskId: string;
  readonly fence: bigint;
}

/** A claim to hold a task. */
export interface TaskClaim extends SecretTask {
  readonly namespace: Namespace;
  readonly principalId: string;
}

/** What the orchestrator says to a claim. */
export interface TaskVerdict {
  readonly valid: boolean;
  /** Empty when valid. */
  readonly reason: string;
  /** 0: not to be kept. */
  readonly cacheForMs: number;
}

/** The orchestrator, as far as vault needs it. */
export interface TaskLeases {
  /** Errors: unavailable/LEASE_UNVERIFIED, within two seconds; precondition/VAULT_SEALED. */
  check(claim: TaskClaim): Promise<TaskVerdict>;
}

const VERDICTS_MAX = 10_000;

/** Lets a task's secrets be read only by who holds the task now.
 *
 * An answer is kept as long as the orchestrator allows, which is never longer than the lease and never more than a
 * second. Calls that make the same claim at the same time share one question. */
export class TaskFence {
  readonly #leases: TaskLeases;
  readonly #verdicts: Cache<string, TaskVerdict>;
  readonly #asking = new Map<string, Promise<TaskVerdict>>();

  /** The clock only measures how long an answer was kept: give it one that never steps back. */
  constructor(leases: TaskLeases, clock: Clock) {
    this.#leases = leases;
    this.#verdicts = createLruCache({ max: VERDICTS_MAX, clock });
  }

  /** Errors: conflict/LEASE_LOST; unavailable/LEASE_UNVERIFIED. */
  async assertHolds(claim: TaskClaim): Promise<void> {
    const name = nameOf(claim);
    const { valid, reason } = this.#verdicts.get(name) ?? (await this.#ask(name, claim));
    if (!valid) throw leaseLost(reason);
  }

  #ask(name: string, claim: TaskClaim): Promise<TaskVerdict> {
    const asking = this.#asking.get(name);
    if (asking !== undefined) return asking;
    const asked = this.#leases
      .check(claim)
      .then((verdict) => {
        const { cacheForMs } = verdict;
        if (cacheForMs > 0) this.#verdicts.set(name, verdict, cacheForMs);
        return verdict;
      })
      .finally(() => this.#asking.delete(name));
    this.#asking.set(name, asked);
    return asked;
  }
}

/** What a caller claims by naming a task. */
export function claimOf(
  { namespace, principalId }: Pick<TaskClaim, "namespace" | "principalId">,
  { taskId, fence }: SecretTask,
): TaskClaim {
  return { namespace, principalId, taskId, fence };
}

function nameOf({ namespace, principalId, fence, taskId }: TaskClaim): string {
  return JSON.stringify([namespace, principalId, String(fence), taskId]);
}
