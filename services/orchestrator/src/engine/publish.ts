/** Tells watchers and metrics what was committed. */

import type { JobEvents } from "../domain/job-event.ts";
import { isTerminalJobState } from "../domain/job-state.ts";
import type { EngineParts } from "./parts.ts";

/** Passes committed events on. Called after the commit and before the next transaction, so in the order of commits. */
export function publish(parts: EngineParts, events: readonly JobEvents[]): void {
  parts.hub.publish(events);
  parts.streams.publish(events, (taskId) => parts.book.get(taskId)?.lease.fence ?? 0n);
  for (const { changes } of events) {
    for (const change of changes) {
      if (change.kind !== "job" || !isTerminalJobState(change.state)) continue;
      parts.paused.delete(change.jobId);
      parts.events.jobsEnded(change.state);
    }
  }
}
