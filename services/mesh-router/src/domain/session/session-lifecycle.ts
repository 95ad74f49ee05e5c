/** The rules of a session's life: what keeps it and what ends it. Opening is session-opener's. */
import type { Clock } from "@nexus/shared";
import type { DispatchHub } from "../dispatch/dispatch-hub.ts";
import type { SessionEnd } from "../mail/mail-desk.ts";
import { sessionLost, sessionSuperseded, sessionTooSlow } from "../mesh-errors.ts";
import type { SessionName } from "../message/carried.ts";
import type { MessageEngine } from "../message/message-engine.ts";
import type { SessionEvents, SessionObserver, SessionStore, SurvivingSession } from "../ports.ts";
import type { StandingJournal } from "../topic/standing-journal.ts";
import { Session, type SessionStream } from "./session.ts";
import type { SessionDirectory } from "./session-directory.ts";
import { isOver, nextSessionState, type SessionEvent } from "./session-state.ts";

/** What an agent asks for in its hello. */
export interface HelloRequest {
  readonly namespace: string;
  readonly agentId: string;
  readonly slots: number;
  readonly messageCredit: number;
  /** Empty for a new session. */
  readonly resumeToken: string;
  /** The end in order of its last stream; empty when there is none. */
  readonly complete: string;
}

/** How a stream ended without a goodbye. */
export type BreakCause = "broken" | "too_slow" | "revoked";

/** What the lifecycle is made from. */
export interface SessionLifecycleInit {
  readonly directory: SessionDirectory;
  readonly store: SessionStore;
  readonly engine: MessageEngine;
  readonly hub: DispatchHub;
  readonly journal: StandingJournal;
  readonly observers: readonly SessionObserver[];
  readonly events: SessionEvents;
  readonly clock: Clock;
  readonly lostAfterMs: number;
}

/** What a cause means to the mail that the session had in hand. */
const MAIL_ENDS: Readonly<Partial<Record<string, SessionEnd>>> = {
  goodbye: "goodbye",
  superseded: "replaced",
  moved: "replaced",
};

/** Sweeps come twice as often; one that is later was held up. */
const SWEEP_GAPS_PER_LOST_AFTER = 10;

const NOT_HELD = { sessionId: "", resumeHash: new Uint8Array(), slots: 0, remainingMs: 0 };

/** Attaches, detaches and ends sessions. */
export class SessionLifecycle {
  readonly #init: SessionLifecycleInit;
  /** Set while the router drains: how long a session that loses its stream is kept. */
  #drainGraceMs: number | undefined;
  /** Ended sessions whose end is not stored yet. */
  readonly #unstored = new Set<Session>();
  #sweptAtMs = Number.POSITIVE_INFINITY;

  constructor(init: SessionLifecycleInit) {
    this.#init = init;
  }

  /** True while the router drains: it opens nothing. */
  get draining(): boolean {
    return this.#drainGraceMs !== undefined;
  }

  /** Puts a stream, and what its hello grants, on a session. A stream that was there is replaced: the agent came
   * back before the router saw the old one end. */
  attach(session: Session, hello: HelloRequest, stream: SessionStream): void {
    const replaced = session.stream;
    const nowMs = this.#init.clock.nowMs();
    session.stream = stream;
    session.isRevived = false;
    session.slots = hello.slots;
    session.lastFrameAtMs = nowMs;
    session.readAtMs = nowMs;
    this.#transition(session, "resume");
    if (replaced !== undefined) {
      this.#init.hub.giveBack(session, "DETACHED");
      replaced.fail(sessionSuperseded());
    }
    this.#changed(session);
    this.#init.engine.restart(session, hello.messageCredit);
    if (session.outbox.items > 0) stream.wake();
  }

  /** A newer epoch of the agent began here: the older one is over. */
  supersede(older: Session): void {
    const { stream } = older;
    this.#end(older, "supersede", "superseded");
    stream?.fail(sessionSuperseded());
  }

  /** A frame came. */
  heard(session: Session, nowMs: number): void {
    session.lastFrameAtMs = nowMs;
  }

  /** The agent grants another number of slots; 0 pauses it. */
  setSlots(session: Session, slots: number): void {
    if (session.slots === slots) return;
    session.slots = slots;
    // A draining router takes no session out of DRAINING again.
    const event = slots === 0 || this.#drainGraceMs !== undefined ? "pause" : "unpause";
    if (this.#transition(session, event)) this.#changed(session);
  }

  /** The stream ended without a goodbye. Does nothing for a stream that was replaced. */
  detach(session: Session, stream: SessionStream, cause: BreakCause): void {
    if (session.stream !== stream) return;
    session.stream = undefined;
    if (cause === "revoked") {
      this.#end(session, "revoke", "revoked");
      return;
    }
    const nowMs = this.#init.clock.nowMs();
    session.detachedUntilMs = nowMs + (this.#drainGraceMs ?? this.#init.lostAfterMs);
    if (!this.#transition(session, "break")) return;
    this.#init.hub.giveBack(session, cause === "too_slow" ? "SESSION_TOO_SLOW" : "DETACHED");
    if (cause === "too_slow") this.#forgetUnread(session);
    this.#init.journal.note(session);
    this.#init.events.sessionDetached(session);
    this.#changed(session);
  }

  /** The agent leaves on purpose; its stream ends once everything queued is written. */
  goodbye(session: Session): void {
    this.#end(session, "goodbye", "goodbye");
    session.stream?.finish();
  }

  /** Gives up sessions that were silent or detached for too long, and streams that nobody reads. Call it often: time for which this process
   * was held up itself is no agent's silence, since what came meanwhile is still to be read. */
  sweep(nowMs: number): void {
    const gapMaxMs = this.#init.lostAfterMs / SWEEP_GAPS_PER_LOST_AFTER;
    const heldUpMs = nowMs - this.#sweptAtMs - gapMaxMs;
    this.#sweptAtMs = nowMs;
    for (const session of this.#init.directory) {
      if (heldUpMs > 0) allowFor(session, heldUpMs, nowMs);
      if (session.ending) continue;
      if (!session.attached) {
        if (nowMs >= session.detachedUntilMs) void this.#giveUp(session);
      } else if (nowMs - session.lastFrameAtMs >= this.#init.lostAfterMs) {
        session.stream?.fail(sessionLost());
        void this.#giveUp(session);
      } else if (session.outbox.items === 0 && session.stream?.hasAnswers !== true) {
        session.readAtMs = nowMs;
      } else if (nowMs - session.readAtMs >= this.#init.lostAfterMs) {
        session.overflowed = true;
        session.stream?.fail(sessionTooSlow());
      }
    }
    for (const session of this.#unstored) void this.#storeEnd(session);
  }

  /** Takes over what an earlier run of this replica left: the sessions wait for their agents. */
  adopt(survivors: readonly SurvivingSession[]): void {
    for (const survivor of survivors) {
      const session = this.#revive(survivor);
      this.#init.directory.add(session);
      this.#changed(session);
    }
  }

  /** Tells the end of sessions that no replica holds any more. */
  reportGone(gone: readonly SessionName[], cause: string): void {
    for (const name of gone) {
      const session = this.#revive({ ...NOT_HELD, ...name });
      this.#transition(session, "expire");
      this.#init.events.sessionEnded(session, cause);
      this.#changed(session);
    }
  }

  /** Asks every agent to reconnect and assigns nothing new. Sessions stay resumable for the window. */
  drain(reason: string, reconnectWithinMs: number): void {
    this.#drainGraceMs = reconnectWithinMs;
    for (const session of this.#init.directory) {
      if (!this.#transition(session, "pause")) continue;
      session.pushDrain({ reason, reconnectWithinMs });
      this.#changed(session);
    }
  }

  #revive(survivor: SurvivingSession): Session {
    const nowMs = this.#init.clock.nowMs();
    const session = new Session({ ...survivor, nowMs });
    session.detachedUntilMs = nowMs + survivor.remainingMs;
    session.isRevived = true;
    return session;
  }

  /** Ends a session whose agent is not coming back, unless it came back to another replica. */
  async #giveUp(session: Session): Promise<void> {
    session.ending = true;
    let ours: boolean;
    try {
      ours = await this.#init.store.end(session.sessionId);
    } catch {
      // The store is away, which it logs itself; the next sweep asks again.
      session.ending = false;
      return;
    }
    if (session.over) return;
    // An agent that came back while its end was being stored has to begin anew.
    session.stream?.fail(sessionLost());
    if (ours) {
      this.#transition(session, "expire");
      this.#finish(session, "expired");
      this.#changed(session);
    } else this.moved(session);
  }

  /** The table says that the session is another replica's: its agent came back there. */
  moved(session: Session): void {
    const { stream } = session;
    if (!this.#transition(session, "supersede")) return;
    this.#init.engine.moved(session);
    this.#finish(session, "moved");
    for (const observer of this.#init.observers) observer.sessionMoved?.(session);
    stream?.fail(sessionSuperseded());
  }

  /** Ends a session by its own agent's doing: told at once, stored after. */
  #end(session: Session, event: SessionEvent, cause: string): void {
    if (!this.#transition(session, event)) return;
    this.#finish(session, cause);
    this.#changed(session);
    if (event !== "supersede") void this.#storeEnd(session);
  }

  async #storeEnd(session: Session): Promise<void> {
    this.#unstored.delete(session);
    try {
      await this.#init.store.end(session.sessionId);
    } catch {
      // Kept for the next sweep. If this process dies first, the row expires by database time.
      this.#unstored.add(session);
    }
  }

  #finish(session: Session, cause: string): void {
    this.#init.directory.remove(session);
    this.#init.engine.ended(session, MAIL_ENDS[cause] ?? "lost", this.#init.clock.nowMs());
    session.tasks.clear();
    this.#init.events.sessionEnded(session, cause);
  }

  #forgetUnread(session: Session): void {
    this.#init.engine.unread(session);
    session.outbox.clear();
    session.overflowed = false;
  }

  #transition(session: Session, event: SessionEvent): boolean {
    const next = nextSessionState(session.state, event);
    if (next === undefined) return false;
    session.state = next;
    if (isOver(next)) session.ending = true;
    return true;
  }

  #changed(session: Session): void {
    for (const observer of this.#init.observers) observer.sessionChanged(session);
  }
}

/** Nobody could be heard for so long, nor come back, nor be written to. */
function allowFor(session: Session, heldUpMs: number, nowMs: number): void {
  session.lastFrameAtMs = Math.min(nowMs, session.lastFrameAtMs + heldUpMs);
  session.readAtMs = Math.min(nowMs, session.readAtMs + heldUpMs);
  session.detachedUntilMs += heldUpMs;
}
