import { NexusError } from "@nexus/shared";

/** Rows that one step takes: bounds its time and what a crash repeats. */
const BATCH = 100;

/** What one step did. */
export interface RewrapStep {
  readonly moved: number;
  /** Rows that do not open; they stay as they are. */
  readonly unreadable: number;
  /** Whether nothing is left behind this step in the pass. */
  readonly complete: boolean;
}

/** Goes through rows that wait for a new wrapping, a batch a step and then from the start. A row that does not open is
 * left out: it must not keep those behind it from moving, which may be other tenants'. */
export class RewrapPass<R> {
  #last: R | undefined;

  async step(
    list: (after: R | undefined, limit: number) => Promise<readonly R[]>,
    move: (row: R) => Promise<void>,
  ): Promise<RewrapStep> {
    const rows = await list(this.#last, BATCH);
    let unreadable = 0;
    for (const row of rows) {
      try {
        await move(row);
      } catch (error) {
        if (!NexusError.is(error, "data_loss")) throw error;
        unreadable++;
      }
    }
    const complete = rows.length < BATCH;
    this.#last = complete ? undefined : rows.at(-1);
    return { moved: rows.length - unreadable, unreadable, complete };
  }
}
