import type { SessionStanding } from "../ports.ts";
import type { Session } from "../session/session.ts";

/** Which sessions the store has to hear about: written behind, latest standing only, so that a thousand streams that
 * break at once are a few statements. */
export class StandingJournal {
  readonly #noted = new Set<Session>();
  readonly #onNote: () => void;

  constructor(onNote: () => void) {
    this.#onNote = onNote;
  }

  get size(): number {
    return this.#noted.size;
  }

  /** The session gained or lost its stream. */
  note(session: Session): void {
    const wasEmpty = this.#noted.size === 0;
    this.#noted.add(session);
    if (wasEmpty) this.#onNote();
  }

  /** Takes up to `max` sessions that are not over. */
  take(max: number): Session[] {
    const taken: Session[] = [];
    for (const session of this.#noted) {
      if (taken.length >= max) break;
      this.#noted.delete(session);
      if (!session.over) taken.push(session);
    }
    return taken;
  }

  /** The statement failed: they are noted again. */
  putBack(sessions: readonly Session[]): void {
    for (const session of sessions) this.#noted.add(session);
  }
}

/** Describes a session for the store. */
export function standingOf(session: Session, nowMs: number): SessionStanding {
  const expiresInMs = session.attached
    ? undefined
    : Math.max(0, Math.round(session.detachedUntilMs - nowMs));
  return { sessionId: session.sessionId, expiresInMs };
}
