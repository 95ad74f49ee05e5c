import { NexusError } from "@nexus/shared";

/** An error of the person at the keyboard: exit code 2. */
export function usageError(message: string): NexusError {
  return new NexusError({ kind: "invalid", reason: "USAGE", message });
}
