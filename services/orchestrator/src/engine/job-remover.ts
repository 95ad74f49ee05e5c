/** Removes jobs that ended long ago, with their tasks and all that is kept of them. */
import { withTransaction } from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import type { EngineEvents } from "../domain/ports.ts";
import { FIRST_ENDED, findOldJobs, removeJobs } from "../store/retention-store.ts";
import { pagesByTasks } from "../store/task-pages.ts";
import { assertHolding } from "../store/writer-session.ts";
import type { Ledger } from "./ledger.ts";
import type { EngineParts } from "./parts.ts";

/** Most jobs that are looked at together. */
const LOOK_JOBS = 500;
/** About how many tasks one transaction removes: whoever retries one of these jobs, or redrives one of their dead letters, waits for it, and
 * with it the claims and ends of a replica. */
const REMOVE_TASKS = 1_000;

/** What the remover needs. */
export interface JobRemoverDeps extends Pick<EngineParts, "pool"> {
  readonly ledger: Pick<Ledger, "ownership" | "shards" | "holdingOf">;
  readonly events: Pick<EngineEvents, "removed">;
}

/** Owns the walk over the jobs that ended. What has ended is not in memory, so nothing waits for this: it runs on connections of the pool,
 * under the epochs of this replica's shards. */
export class JobRemover {
  readonly #deps: JobRemoverDeps;

  constructor(deps: JobRemoverDeps) {
    this.#deps = deps;
  }

  /** Goes once over the jobs of this replica's shards that ended more than `ageMs` ago, the earliest end first, and removes all that no
   * other job needs. Some that cannot be removed do not keep the others.
   *
   * Errors: unavailable/NOT_OWNER at once; the first other one when all were tried. What was removed stays removed. */
  async removeOlderThan(ageMs: number, signal: AbortSignal): Promise<void> {
    const { pool, ledger } = this.#deps;
    const failures: unknown[] = [];
    let after = FIRST_ENDED;
    for (let more = true; more && !signal.aborted && ledger.ownership === "owner"; ) {
      const shards = [...ledger.shards.keys()];
      const old = await findOldJobs(pool, shards, { ageMs, after, limit: LOOK_JOBS });
      for (const page of pagesByTasks(old, REMOVE_TASKS)) {
        await this.#remove(page, shards, signal).catch((error: unknown) => {
          if (NexusError.is(error, "unavailable", "NOT_OWNER")) throw error;
          failures.push(error);
        });
      }
      after = old.at(-1) ?? after;
      more = old.length === LOOK_JOBS;
    }
    if (failures.length > 0) throw NexusError.from(failures[0]);
  }

  async #remove(
    jobIds: readonly string[],
    shards: readonly number[],
    signal: AbortSignal,
  ): Promise<void> {
    if (signal.aborted) return;
    const { pool, ledger, events } = this.#deps;
    const holding = ledger.holdingOf(shards);
    const { jobs, tasks } = await withTransaction(pool, async (tx) => {
      await assertHolding(tx, holding);
      return removeJobs(tx, jobIds);
    });
    events.removed(jobs, tasks);
  }
}
