import { NexusError } from "@nexus/shared";

/** What a command that removes something says when it was not there: the call itself is idempotent and says nothing, but a misspelt name
 * left in force what it should have ended. */
export function absent(reason: string, message: string): NexusError {
  return new NexusError({ kind: "not_found", reason, message });
}
