/** Follows the sessions of agents, and ends the leases of those that are gone. */
import type { Refusal, SessionReport } from "../domain/ports.ts";
import type { Ending } from "../domain/settlement.ts";
import type { AgentEntry, LiveLease } from "./agent-entry.ts";
import type { EndLease } from "./lease-ender.ts";
import type { EngineParts } from "./parts.ts";

/** An agent that refused an assignment gets nothing new for so long: the router's next report says why. */
const COOL_DOWN_MS = 1_000;

/** A router that starts again and again gives those who were behind it time anew with each snapshot, up to so many times what it is. */
const GRACES_MAX = 3;

/** The refusal of a router that saw the slot go to another replica: nobody's fault, and told anew by the next report. */
const NO_SLOT = "NO_SLOT";

/** The end of a lease whose session was over before anybody here could see it end. */
const OVER: Ending = {
  kind: "LOST",
  message: "The agent's session was over.",
  agentsDoing: false,
};

/** What the keeper needs beside the shared parts. */
export interface SessionKeeperDeps {
  readonly parts: EngineParts;
  readonly end: EndLease;
  /** The agent may take tasks now, or no longer. */
  readonly onChanged: (agent: AgentEntry) => void;
  /** Sends assignments again that the agents of a stream may have missed. */
  readonly resend: (leases: readonly LiveLease[]) => void;
}

/** Owns what is known of sessions. A session is named by its epoch; a higher epoch ends all lower ones. */
export class SessionKeeper {
  readonly #parts: EngineParts;
  readonly #deps: SessionKeeperDeps;
  /** By stream: the agents of the snapshot under way. */
  readonly #snapshots = new Map<string, Set<AgentEntry>>();
  /** Since when agents are away that were away at a snapshot, monotonic milliseconds. */
  readonly #awaySinceMs = new WeakMap<AgentEntry, number>();
  /** Agents whose session broke while nobody here could see whose doing it was. */
  readonly #unsure = new WeakSet<AgentEntry>();
  /** Since when leases were seen without their sessions, or when they were last ended for it, monotonic milliseconds. */
  readonly #outlived = new WeakMap<LiveLease, number>();

  constructor(deps: SessionKeeperDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
  }

  /** A stream opened: a snapshot of its sessions follows. */
  onStreamOpened(router: string): void {
    this.#snapshots.set(router, new Set());
  }

  /** The snapshot is complete: who is not in it has so long from now to come back. */
  onSnapshotComplete(router: string): void {
    const seen = this.#snapshots.get(router) ?? new Set<AgentEntry>();
    this.#snapshots.delete(router);
    const nowMs = this.#parts.nowMs();
    const silent: LiveLease[] = [];
    for (const agent of this.#parts.fleet.values()) {
      const here = agent.session?.router === router;
      if (seen.has(agent)) silent.push(...agent.leases.values());
      else if (here) this.#setUnreachable(agent, nowMs);
      else if (agent.session === undefined && agent.absentSinceMs !== undefined) {
        this.#giveTime(agent, nowMs);
      }
    }
    this.#deps.resend(silent);
  }

  /** A stream broke: its sessions take nothing new, and their leases live on for a while. */
  onStreamLost(router: string): void {
    this.#snapshots.delete(router);
    const nowMs = this.#parts.nowMs();
    for (const agent of this.#parts.fleet.values()) {
      if (agent.session?.router === router && !agent.unreachable) {
        this.#setUnreachable(agent, nowMs);
      }
    }
  }

  /** A router says how a session stands. */
  onReport(router: string, report: SessionReport): void {
    const { namespace, agentId, epoch } = report.session;
    const agent = this.#parts.fleet.open(namespace, agentId);
    this.#snapshots.get(router)?.add(agent);
    const known = agent.session;
    if (known !== undefined && epoch < known.epoch) return;
    if (report.state !== "CONNECTED" && this.#isElsewhere(agent, router, epoch)) return;
    if (report.state === "CLOSED" || report.state === "LOST") {
      this.#onEnded(agent, report);
      return;
    }
    const agentsDoing = known !== undefined && known.epoch < epoch && this.#held(agent);
    this.#noteBreak(agent, report);
    // A session that is back has got over what made it refuse.
    if (known?.epoch !== epoch || known.state !== "CONNECTED") agent.coolUntilMs = 0;
    agent.session = { epoch, state: report.state, slots: report.slots, router };
    if (agent.endedEpoch >= epoch) agent.endedEpoch = epoch - 1n;
    agent.unreachable = false;
    agent.absentSinceMs = undefined;
    this.#awaySinceMs.delete(agent);
    this.#endLeases(agent, (held) => held < epoch, {
      kind: "LOST",
      message: "The agent began a new session.",
      agentsDoing,
    });
    this.#deps.onChanged(agent);
  }

  /** An assignment did not reach its agent. */
  onRefusal(refusal: Refusal): void {
    this.#parts.events.refused(refusal.reason);
    const live = this.#parts.book.find(refusal.taskId, refusal.fence);
    if (live === undefined || live.lease.agentEpoch !== refusal.session.epoch) return;
    if (refusal.reason === NO_SLOT) {
      this.#deps.end(live, {
        kind: "CROWDED",
        message: "Another replica took the agent's last slot.",
      });
      return;
    }
    live.agent.coolUntilMs = this.#parts.nowMs() + COOL_DOWN_MS;
    const message = `The assignment did not reach the agent: ${refusal.reason}.`;
    this.#deps.end(live, { kind: "REFUSED", message });
  }

  /** Leases were read: those of a session that is over end, as its end may have been reported before they were here, and those
   * whose session is not known wait for it from now on. `all`: no lease was known before. */
  onLoaded(all: boolean): void {
    const nowMs = this.#parts.nowMs();
    for (const agent of this.#parts.fleet.values()) {
      this.#endLeases(agent, (epoch) => isOver(agent, epoch), OVER);
      const absent = agent.session === undefined || agent.unreachable;
      const sinceMs = all ? nowMs : (agent.absentSinceMs ?? nowMs);
      if (all) this.#awaySinceMs.delete(agent);
      agent.absentSinceMs = absent && agent.leases.size > 0 ? sinceMs : undefined;
    }
  }

  /** Ends the leases of agents that were not seen for too long, and those that outlived their session, whatever the reason;
   * returns how many. Called now and then. */
  reapAbsent(): number {
    const limitMs = this.#parts.nowMs() - this.#parts.limits.lostAfterMs;
    let ended = 0;
    for (const agent of this.#parts.fleet.values()) {
      ended += this.#endOutlived(agent, limitMs);
      if (agent.absentSinceMs === undefined || agent.absentSinceMs > limitMs) continue;
      // An end that was given up is tried again after as long.
      agent.absentSinceMs = agent.leases.size > 0 ? this.#parts.nowMs() : undefined;
      agent.session = undefined;
      agent.unreachable = false;
      this.#awaySinceMs.delete(agent);
      // Nobody knows whether the agent or its router is gone, so it does not count against the agent.
      ended += this.#endLeases(agent, () => true, {
        kind: "LOST",
        message: "The agent's session was not seen again in time.",
        agentsDoing: false,
      });
      this.#deps.onChanged(agent);
    }
    return ended;
  }

  /** An end takes a moment to be stored, so a lease is left alone until it was seen without its session for long enough. */
  #endOutlived(agent: AgentEntry, limitMs: number): number {
    let ended = 0;
    for (const live of agent.leases.values()) {
      if (!isOver(agent, live.lease.agentEpoch)) continue;
      const sinceMs = this.#outlived.get(live);
      if (sinceMs !== undefined && sinceMs > limitMs) continue;
      this.#outlived.set(live, this.#parts.nowMs());
      if (sinceMs === undefined || !this.#deps.end(live, OVER)) continue;
      this.#parts.events.agentLost(1);
      ended += 1;
    }
    return ended;
  }

  /** The session was resumed on another router meanwhile: this one's word is about its own half only. */
  #isElsewhere(agent: AgentEntry, router: string, epoch: bigint): boolean {
    const known = agent.session;
    const live = known?.state === "CONNECTED" && !agent.unreachable;
    return live && known.epoch === epoch && known.router !== router;
  }

  /** A break is the agent's while its router was there: what broke before a router came back, or before this replica knew of
   * the session, may have broken with a router. */
  #noteBreak(agent: AgentEntry, { session, state }: SessionReport): void {
    const known = agent.session;
    if (state !== "DETACHED") this.#unsure.delete(agent);
    else if (known?.epoch !== session.epoch || !this.#held(agent)) this.#unsure.add(agent);
  }

  /** Says whether nothing but the agent can have ended its session. */
  #held(agent: AgentEntry): boolean {
    return !agent.unreachable && !this.#unsure.has(agent);
  }

  #onEnded(agent: AgentEntry, { session, state }: SessionReport): void {
    const agentsDoing = state === "LOST" && agent.session !== undefined && this.#held(agent);
    this.#unsure.delete(agent);
    agent.session = undefined;
    if (session.epoch > agent.endedEpoch) agent.endedEpoch = session.epoch;
    agent.unreachable = false;
    agent.absentSinceMs = undefined;
    this.#endLeases(agent, (held) => held <= session.epoch, {
      kind: "LOST",
      message:
        state === "LOST"
          ? "The agent's session was lost."
          : "The agent said goodbye to its session.",
      agentsDoing,
    });
    this.#deps.onChanged(agent);
  }

  #setUnreachable(agent: AgentEntry, nowMs: number): void {
    agent.unreachable = true;
    this.#giveTime(agent, nowMs);
    this.#deps.onChanged(agent);
  }

  /** An absent agent has time to come back from now on, but not for ever. */
  #giveTime(agent: AgentEntry, nowMs: number): void {
    const awaySinceMs = this.#awaySinceMs.get(agent) ?? nowMs;
    this.#awaySinceMs.set(agent, awaySinceMs);
    const { lostAfterMs } = this.#parts.limits;
    agent.absentSinceMs = Math.min(nowMs, awaySinceMs + (GRACES_MAX - 1) * lostAfterMs);
  }

  #endLeases(agent: AgentEntry, which: (epoch: bigint) => boolean, ending: Ending): number {
    const held = [...agent.leases.values()].filter((live) => which(live.lease.agentEpoch));
    const gone = held.filter((live) => this.#deps.end(live, ending));
    if (gone.length > 0) this.#parts.events.agentLost(gone.length);
    return gone.length;
  }
}

/** Says whether the agent's session of that epoch is known to be over. */
function isOver({ session, endedEpoch }: AgentEntry, epoch: bigint): boolean {
  return epoch <= endedEpoch || (session !== undefined && session.epoch > epoch);
}
