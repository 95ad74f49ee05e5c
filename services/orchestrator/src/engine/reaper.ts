/** Ends what is overdue, by the database's clock. Each step is bounded; loops repeat them. */
import { JobDeltas } from "../domain/job-deltas.ts";
import { toFailure } from "../domain/settlement.ts";
import {
  expireReady,
  findBusyJobs,
  findOverdueOfJobs,
  findOverdueReady,
  judgeDeadlines,
  type LeaseRef,
} from "../store/due-store.ts";
import { applyEffects } from "../store/effects-store.ts";
import { movedByExpiry } from "./lease-orders.ts";
import { stopLease } from "./lease-stopper.ts";
import type { EngineParts } from "./parts.ts";
import type { Settler } from "./settler.ts";
import { taskIdsOf } from "./task-ids.ts";

const TOO_LONG = "The attempt took longer than its start_to_close_timeout.";
const NO_AGENT = "No agent could take the task within its schedule_to_start_timeout.";
/** Where nothing waits in memory, which is never wrong but for a mistake of ours, the database is asked this seldom all the same. */
const IDLE_LOOK_MS = 30_000;

/** Owns the search; the settler and the ledger do the work. */
export class Reaper {
  readonly #parts: EngineParts;
  readonly #settler: Settler;
  /** Overdue leases of the last audit that memory does not know. */
  #strangers: ReadonlySet<string> = new Set();
  /** Overdue leases of the last step that are in memory and no longer stored. */
  #ghosts: ReadonlySet<string> = new Set();
  /** Jobs that had more leases than memory at the last audit: most are being changed at that moment, few are so twice. */
  #suspects: ReadonlySet<string> = new Set();
  /** When the database was last asked for tasks that found no agent. */
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: EngineParts, settler: Settler) {
    this.#parts = parts;
    this.#settler = settler;
  }

  /** Ends attempts that took too long, which costs them an attempt, and tells their agents to stop. Memory says which may be meant,
   * so that nothing is asked while none is; the database says whether they are. */
  async reapDeadlines(): Promise<number> {
    const { ledger, book, pool, limits } = this.#parts;
    if (ledger.ownership !== "owner") return 0;
    const due = book.overdue(this.#parts.nowMs(), limits.reapBatchMax);
    if (due.length === 0) return 0;
    const { overdue, ended } = await judgeDeadlines(
      pool,
      due.map(({ lease }) => ({ taskId: lease.task.taskId, fence: lease.fence })),
    );
    const ghosts = ended.filter(({ taskId, fence }) => book.find(taskId, fence));
    this.#ghosts = this.#distrust(ghosts, this.#ghosts, "leases are in memory that are not stored");
    await Promise.all(overdue.map((lease) => this.#endLate(lease)));
    return overdue.length;
  }

  /** Looks for overdue leases that memory does not know, which nobody would end: those of jobs that count more than memory has.
   * Memory is never wrong but for a mistake of ours; then it is read anew. */
  async auditLeases(): Promise<void> {
    const { ledger, book, pool, limits } = this.#parts;
    if (ledger.ownership !== "owner") return;
    const busy = await findBusyJobs(pool, [...ledger.shards.keys()]);
    const held = book.countByJob();
    const over = busy.filter(({ jobId, active }) => active > (held.get(jobId) ?? 0));
    const suspects = over
      .filter(({ jobId }) => this.#suspects.has(jobId))
      .slice(0, limits.reapBatchMax);
    this.#suspects = new Set(over.map(({ jobId }) => jobId));
    const overdue = await findOverdueOfJobs(pool, suspects, limits.reapBatchMax);
    const strangers = overdue.filter(
      ({ taskId, fence }) => ledger.owns(taskId) && !book.find(taskId, fence),
    );
    this.#strangers = this.#distrust(
      strangers,
      this.#strangers,
      "leases are stored that memory does not know",
    );
  }

  /** A lease on which memory and database differ is being claimed or ended at this moment. If they still differ at the next look,
   * memory is wrong and is read anew. Returns what to hold the next look against. */
  #distrust(
    leases: readonly LeaseRef[],
    before: ReadonlySet<string>,
    complaint: string,
  ): ReadonlySet<string> {
    const keys = leases.map(({ taskId, fence }) => `${taskId}:${fence}`);
    if (!keys.some((key) => before.has(key))) return new Set(keys);
    this.#parts.logger.error({ leases: keys.length }, complaint);
    this.#parts.ledger.reload();
    return new Set();
  }

  /** Fails tasks that found no agent in time. While none waits in memory the database is seldom asked. */
  async reapWaiting(): Promise<number> {
    if (this.#parts.ledger.ownership !== "owner") return 0;
    const nowMs = this.#parts.nowMs();
    if (this.#parts.queue.size === 0 && nowMs - this.#lookedAtMs < IDLE_LOOK_MS) return 0;
    this.#lookedAtMs = nowMs;
    const ids = await findOverdueReady(
      this.#parts.pool,
      [...this.#parts.ledger.shards.keys()],
      this.#parts.limits.reapBatchMax,
    );
    if (ids.length === 0) return 0;
    const startedAtMs = this.#parts.nowMs();
    const { expired } = await this.#parts.ledger.run(
      async (client) => {
        const shards = [...this.#parts.ledger.shards.keys()];
        const expired = await expireReady(client, ids, { shards, message: NO_AGENT });
        const failure = toFailure("NO_AGENT_IN_TIME", NO_AGENT);
        const moved = expired.map((task) => movedByExpiry(task, failure));
        const maps = { newTaskId: taskIdsOf(this.#parts) };
        return { expired, effects: await applyEffects(client, moved, new JobDeltas(), maps) };
      },
      ({ expired, effects }) => {
        for (const task of expired) this.#parts.queue.remove(task.taskId);
        const freed = effects.unblocked.map((task) => ({ task, delayMs: 0 }));
        this.#settler.follow(effects, freed);
      },
    );
    this.#parts.events.expired(expired.length);
    const seconds = (this.#parts.nowMs() - startedAtMs) / 1_000;
    this.#parts.events.flushed("expire", expired.length, seconds);
    return expired.length;
  }

  async #endLate({ taskId, fence }: LeaseRef): Promise<void> {
    const live = this.#parts.book.find(taskId, fence);
    if (live === undefined) return;
    const reason = "DEADLINE_EXCEEDED" as const;
    await stopLease(
      { parts: this.#parts, settler: this.#settler },
      live,
      { kind: "DEADLINE", reason, message: TOO_LONG },
      reason,
    );
  }
}
