import { NexusError } from "@nexus/shared";

/** The caller may see no such alert. */
export function alertNotFound(): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "ALERT_NOT_FOUND",
    message: "There is no such alert.",
  });
}

/** Too many watch already. */
export function alertWatchesFull(max: number): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "ALERT_WATCHES_FULL",
    message: `This vault serves ${max} watches of alerts at a time.`,
  });
}
