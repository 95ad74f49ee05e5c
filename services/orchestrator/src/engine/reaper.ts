/** Ends attempts that are overdue, by the database's clock. Each step is bounded; loops repeat them. */
import {
  findBusyJobs,
  findOverdueOfJobs,
  judgeDeadlines,
  type LeaseRef,
} from "../store/due-store.ts";
import { stopLease } from "./lease-stopper.ts";
import type { EngineParts } from "./parts.ts";
import type { Settler } from "./settler.ts";

const TOO_LONG = "The attempt took longer than its start_to_close_timeout.";

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
