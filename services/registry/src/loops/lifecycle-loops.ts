/** Loops that end what time has run out for. Every replica runs them; each row is taken by one. */
import type { AgentLifecycle } from "../domain/agent-lifecycle.ts";
import type { LoopSpec } from "./index-loops.ts";

/** Marks silent agents LOST. */
export function expirePresence(lifecycle: AgentLifecycle, intervalMs: number): LoopSpec {
  return {
    name: "expire-presence",
    intervalMs,
    step: async () => {
      await lifecycle.expirePresence();
    },
  };
}

/** Removes records whose time is over. */
export function expireRecords(lifecycle: AgentLifecycle, intervalMs: number): LoopSpec {
  return {
    name: "expire-records",
    intervalMs,
    step: async () => {
      await lifecycle.expireRecords();
    },
  };
}
