import { backoffDelayMs, sleep } from "@nexus/shared";

/** While the database is away it is asked this often: senders wait. */
const RETRY = { initialMs: 20, multiplier: 2, maxMs: 500, jitter: 0.3 };

/** What the writer works with. */
export interface MailWriterInit {
  readonly office: { work(): Promise<void> };
  readonly events: { mailWriteFailed(error: unknown): void };
  /** Has the next step follow at once: what failed is still to be written. */
  readonly again: () => void;
}

/** Writes and reads mail. What fails is tried again after a pause: nothing of it is lost, and senders learn EXPIRED in time. */
export function createMailWriter({ office, events, again }: MailWriterInit) {
  let failures = 0;
  return async (signal: AbortSignal): Promise<void> => {
    try {
      await office.work();
      failures = 0;
    } catch (error) {
      failures += 1;
      events.mailWriteFailed(error);
      // A stop cuts the pause short, which is all it should do.
      await sleep(backoffDelayMs(failures, RETRY), signal).catch(() => undefined);
      again();
    }
  };
}
