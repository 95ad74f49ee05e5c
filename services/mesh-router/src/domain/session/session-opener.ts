/** From a hello to a session: who may continue an epoch and who begins the next. */
import type { Clock, Ids } from "@nexus/shared";
import { routerDraining, sessionLimit, sessionSuperseded } from "../mesh-errors.ts";
import type { OpenedSession, SessionEvents, SessionStore } from "../ports.ts";
import type { StandingJournal } from "../topic/standing-journal.ts";
import { createResumeToken, hashResumeToken, sameResumeHash } from "./resume-token.ts";
import { Session, type SessionStream } from "./session.ts";
import type { SessionDirectory } from "./session-directory.ts";
import type { HelloRequest, SessionLifecycle } from "./session-lifecycle.ts";

/** An opened session, for the welcome. */
export interface Opened {
  readonly session: Session;
  readonly resumed: boolean;
  /** It was in this process's memory all along. */
  readonly held: boolean;
  /** The end that the hello names is known: what that stream brought is in hand. */
  readonly continued: boolean;
  readonly resumeToken: string;
}

/** What the opener is made from. */
export interface SessionOpenerInit {
  readonly directory: SessionDirectory;
  readonly lifecycle: SessionLifecycle;
  readonly store: SessionStore;
  readonly journal: StandingJournal;
  readonly events: SessionEvents;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly sessionsMax: number;
}

/** Opens sessions. */
export class SessionOpener {
  readonly #init: SessionOpenerInit;
  #opening = 0;

  constructor(init: SessionOpenerInit) {
    this.#init = init;
  }

  /** Opens a session on a stream: continues the one of a good resume token, else begins the next epoch, which ends
   * the session that the agent had.
   *
   * The token of an epoch never changes: the welcome that carried a new one could be lost with its stream.
   * Errors: exhausted/SESSION_LIMIT; unavailable/SERVER_DRAINING; conflict/SESSION_SUPERSEDED when a still newer
   * session won meanwhile; whatever the store throws. */
  async open(hello: HelloRequest, stream: SessionStream): Promise<Opened> {
    if (this.#init.lifecycle.draining) throw routerDraining();
    const presented = hello.resumeToken === "" ? undefined : hashResumeToken(hello.resumeToken);
    const held = this.#findHeld(hello, presented);
    if (held !== undefined) {
      this.#init.journal.note(held);
      const { resumeToken } = hello;
      const continued = held.continueFrom(hello.complete);
      const opened = {
        session: held,
        resumed: true,
        held: !held.isRevived,
        continued,
        resumeToken,
      };
      return this.#attach(opened, hello, stream);
    }
    this.#assertRoom(hello);
    const fresh = createResumeToken();
    const freshHash = hashResumeToken(fresh);
    const stored = await this.#openStored(hello, presented, freshHash);
    const { resumed } = stored;
    const session = this.#install(hello, stored, resumed && presented ? presented : freshHash);
    const resumeToken = resumed ? hello.resumeToken : fresh;
    const opened = { session, resumed, held: false, continued: false, resumeToken };
    return this.#attach(opened, hello, stream);
  }

  #findHeld(hello: HelloRequest, presented: Buffer | undefined): Session | undefined {
    const session = this.#init.directory.find(hello.namespace, hello.agentId);
    if (session === undefined || presented === undefined || session.ending) return undefined;
    const expired = !session.attached && this.#init.clock.nowMs() >= session.detachedUntilMs;
    return !expired && sameResumeHash(session.resumeHash, presented) ? session : undefined;
  }

  #assertRoom({ namespace, agentId }: HelloRequest): void {
    const { directory, sessionsMax } = this.#init;
    if (directory.size + this.#opening < sessionsMax) return;
    if (directory.find(namespace, agentId) === undefined) throw sessionLimit(sessionsMax);
  }

  async #openStored(
    { namespace, agentId, slots }: HelloRequest,
    presentedHash: Buffer | undefined,
    resumeHash: Buffer,
  ): Promise<OpenedSession> {
    const { store, ids } = this.#init;
    const sessionId = ids.next("ses");
    this.#opening += 1;
    try {
      return await store.open({ namespace, agentId, slots, sessionId, presentedHash, resumeHash });
    } finally {
      this.#opening -= 1;
    }
  }

  /** Puts a stored session into the directory and ends the one it replaces. */
  #install(hello: HelloRequest, stored: OpenedSession, resumeHash: Uint8Array): Session {
    const { namespace, agentId, slots } = hello;
    const { directory, lifecycle, clock, journal } = this.#init;
    const { epoch, sessionId, supersededEpoch } = stored;
    const older = directory.find(namespace, agentId);
    if (older !== undefined && older.epoch > epoch) throw sessionSuperseded();
    const nowMs = clock.nowMs();
    const session = new Session({ namespace, agentId, epoch, sessionId, resumeHash, slots, nowMs });
    if (lifecycle.draining) {
      journal.note(session);
      throw routerDraining();
    }
    if (older?.epoch === epoch) return older;
    if (older !== undefined) lifecycle.supersede(older);
    else if (supersededEpoch !== undefined) {
      lifecycle.reportGone([{ namespace, agentId, epoch: supersededEpoch }], "superseded");
    }
    directory.add(session);
    return session;
  }

  #attach(opened: Opened, hello: HelloRequest, stream: SessionStream): Opened {
    this.#init.lifecycle.attach(opened.session, hello, stream);
    this.#init.events.sessionOpened(opened.session, opened.resumed);
    return opened;
  }
}
