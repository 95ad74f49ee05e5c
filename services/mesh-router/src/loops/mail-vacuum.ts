import type { Clock } from "@nexus/shared";

/** Dead rows that are worth a vacuum: a mailbox's reader walks over so many in some ten milliseconds. */
export const VACUUM_ROWS = 10_000;
/** After each it rests for so many times as long as that took: it has a sixth of the time at most, also where it can free nothing. */
const REST_TIMES = 5;
/** Rest where none was run, doubled each time in a row: somebody else is at the table, which is soon over, or this role may not. */
const SKIPPED_REST_MS = 1_000;
const SKIPPED_REST_MAX_MS = 60_000;

/** What the vacuum works with. */
export interface MailVacuumInit {
  readonly mail: { readonly dead: number; vacuum(signal: AbortSignal): Promise<boolean> };
  readonly clock: Clock;
}

/** Vacuums the table of mail when enough of it is dead. The server does that as well, but looks once a minute: by then a busy router has
 * left a million rows, a gigabyte, in front of the mail of those who come to read theirs. */
export function createMailVacuum({ mail, clock }: MailVacuumInit) {
  let restsUntilMs = 0;
  let skippedRestMs = SKIPPED_REST_MS;
  return async (signal: AbortSignal): Promise<void> => {
    const fromMs = clock.nowMs();
    if (mail.dead < VACUUM_ROWS || fromMs < restsUntilMs) return;
    try {
      const hasRun = await mail.vacuum(signal);
      const nowMs = clock.nowMs();
      restsUntilMs = nowMs + (hasRun ? REST_TIMES * (nowMs - fromMs) : skippedRestMs);
      skippedRestMs = hasRun ? SKIPPED_REST_MS : Math.min(2 * skippedRestMs, SKIPPED_REST_MAX_MS);
    } catch (error) {
      // A stop does not wait for it. After a failure the loop rests by itself.
      if (!signal.aborted) throw error;
    }
  };
}
