import type { Pool } from "@nexus/postgres";
import { auditUnavailable } from "./draft-writer.ts";

/** Entries that may wait in an outbox, some 200 MB. At it audited calls are refused: a log that is never told is no log. */
export const BACKLOG_MAX = 500_000;

/** How many wait, from the ends of the primary key. Numbers that a rolled-back transaction took count as well: they are few, and
 * counting rows would cost most when there are most. */
const SPAN = "SELECT coalesce(max(entry_no) - min(entry_no) + 1, 0) AS waiting FROM audit_outbox";

/** How full an outbox is. */
export interface Backlog {
  /** Looks. For a loop: between two looks calls of that time can go over the limit. */
  look(): Promise<void>;
  /** Hears how many wait from somebody else who looked. */
  hear(waiting: number): void;
  /** As of the last look. */
  readonly waiting: number;
  /** Errors: unavailable/AUDIT_UNAVAILABLE while the outbox is full. */
  assertRoom(): void;
}

/** Watches the outbox of a service. */
export function createBacklog(pool: Pool, max = BACKLOG_MAX): Backlog {
  let waiting = 0;
  return {
    async look() {
      const { rows } = await pool.query<{ waiting: string }>(SPAN);
      waiting = Number(rows[0]?.waiting ?? 0);
    },
    hear(counted) {
      waiting = counted;
    },
    get waiting() {
      return waiting;
    },
    assertRoom() {
      if (waiting >= max) throw auditUnavailable(new Error(`${waiting} entries wait for vault`));
    },
  };
}
