import type { SessionStore } from "../domain/ports.ts";
import { type StandingJournal, standingOf } from "../domain/topic/standing-journal.ts";

const BATCH_MAX = 512;

/** What the writer works with. */
export interface StandingWriterInit {
  readonly journal: StandingJournal;
  readonly store: SessionStore;
  readonly nowMs: () => number;
}

/** Stores which sessions gained or lost their stream since the last step.
 *
 * Errors: whatever the store throws; what was not stored is noted again. */
export function createStandingWriter({ journal, store, nowMs }: StandingWriterInit) {
  return async (): Promise<void> => {
    while (journal.size > 0) {
      const sessions = journal.take(BATCH_MAX);
      if (sessions.length === 0) continue;
      try {
        await store.settle(sessions.map((session) => standingOf(session, nowMs())));
      } catch (error) {
        journal.putBack(sessions);
        throw error;
      }
    }
  };
}
