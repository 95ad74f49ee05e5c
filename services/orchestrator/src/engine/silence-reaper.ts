/** Ends attempts whose agent is silent for longer than the task's heartbeat_timeout.
 *
 * What was last heard is in memory only, so a heartbeat costs no row. A new owner begins to listen anew, and so does
 * this one when the agent's session is back: until then the guard of the session counts. */
import type { LiveLease } from "./agent-entry.ts";
import { stopLease } from "./lease-stopper.ts";
import type { EngineParts } from "./parts.ts";
import type { Settler } from "./settler.ts";

/** Owns nothing: each lease knows when its agent was last heard. */
export class SilenceReaper {
  readonly #parts: EngineParts;
  readonly #settler: Settler;

  constructor(parts: EngineParts, settler: Settler) {
    this.#parts = parts;
    this.#settler = settler;
  }

  /** Ends what is silent for too long, which costs an attempt, and tells the agents to stop; returns how many. */
  async reap(): Promise<number> {
    if (this.#parts.ledger.ownership !== "owner") return 0;
    const silent = this.#findSilent();
    await Promise.all(silent.map((live) => this.#end(live)));
    return silent.length;
  }

  #findSilent(): LiveLease[] {
    const nowMs = this.#parts.nowMs();
    const silent: LiveLease[] = [];
    for (const live of this.#parts.book.values()) {
      const { heartbeatMs } = live.lease.task.spec;
      if (heartbeatMs === undefined) continue;
      if (!canBeHeard(live)) live.heardAtMs = nowMs;
      if (nowMs - live.heardAtMs < heartbeatMs) continue;
      // Until the end is committed, or the next timeout, it is not ended again.
      live.heardAtMs = nowMs;
      silent.push(live);
      if (silent.length >= this.#parts.limits.reapBatchMax) break;
    }
    return silent;
  }

  async #end(live: LiveLease): Promise<void> {
    const reason = "HEARTBEAT_TIMEOUT" as const;
    const message = "The agent said nothing about the task for its heartbeat_timeout.";
    await stopLease(
      { parts: this.#parts, settler: this.#settler },
      live,
      { kind: "DEADLINE", reason, message },
      reason,
    );
  }
}

/** The assignment got out, and the session that has it is connected: whatever its agent says would arrive. */
function canBeHeard({ sent, accepted, agent, lease }: LiveLease): boolean {
  const connected = agent.connection === "CONNECTED" || agent.connection === "DRAINING";
  return (sent || accepted) && connected && agent.session?.epoch === lease.agentEpoch;
}
