import type { SessionName } from "../domain/message/carried.ts";
import type { ReportEvents, SessionStore } from "../domain/ports.ts";

/** What the renewal works with. */
export interface RouterRenewalInit {
  readonly store: SessionStore;
  readonly events: ReportEvents;
  /** Takes the sessions of replicas that are gone. */
  readonly onOrphans: (orphans: readonly SessionName[]) => void;
  /** How long a replica may be silent. */
  readonly graceMs: number;
  readonly nowMs: () => number;
}

/** Says that this replica lives, and gives up the sessions of those that do not say so any more.
 *
 * Judges others only after a whole grace without a failure of its own: after an outage of the database every
 * replica looks dead to the first one that is back. */
export function createRouterRenewal(init: RouterRenewalInit) {
  let steadySinceMs: number | undefined;
  return async (): Promise<void> => {
    const { store, events, graceMs, nowMs } = init;
    try {
      await store.renewRouter();
      steadySinceMs ??= nowMs();
      if (nowMs() - steadySinceMs < graceMs) return;
      const orphans = await store.endOrphans(graceMs);
      if (orphans.length > 0) init.onOrphans(orphans);
    } catch (error) {
      steadySinceMs = undefined;
      events.renewalFailed(error);
    }
  };
}
