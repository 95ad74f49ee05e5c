/** What the registry is told about agents: changes at once, everything from time to time. */
import { PRESENCE_ENDED_MAX } from "../limits.ts";
import type { Session } from "./session.ts";

/** How an agent stands, in the registry's words. */
export type PresenceState = "online" | "busy" | "draining" | "offline" | "lost";

/** One agent's presence. */
export interface Presence {
  readonly namespace: string;
  readonly agentId: string;
  readonly epoch: bigint;
  readonly state: PresenceState;
  readonly slots: number;
  readonly busySlots: number;
}

const STATE_CODES: Readonly<Record<PresenceState, number>> = {
  online: 0,
  busy: 1,
  draining: 2,
  offline: 3,
  lost: 4,
};
/** More than any number of slots. */
const SLOTS_SPAN = 4_096;
/** Where the last slot was taken or freed, and nothing else: what an agent under load does many times a second. */
const FLIPS: ReadonlySet<number> = new Set([STATE_CODES.online, STATE_CODES.busy]);

/** Describes a session for the registry. A detached one can take nothing new, like one that drains. */
export function presenceStateOf(session: Session): PresenceState {
  switch (session.state) {
    case "connected":
      return session.tasks.busy >= session.slots ? "busy" : "online";
    case "draining":
    case "detached":
      return "draining";
    case "closed":
      return "offline";
    case "lost":
      return "lost";
  }
}

function presenceOf(session: Session): Presence {
  const { namespace, agentId, epoch, slots } = session;
  const busySlots = Math.min(session.tasks.busy, slots);
  return { namespace, agentId, epoch, slots, busySlots, state: presenceStateOf(session) };
}

/** Collects the sessions whose presence differs from what was last taken.
 *
 * An agent that becomes busy, or free again, waits for the reporter's next round; every other change asks for one at once. Under
 * load an agent does that with every task, and each report is a write of the registry's and news for all its watchers. */
export class PresenceBoard {
  readonly #changed = new Set<Session>();
  readonly #last = new WeakMap<Session, number>();
  readonly #onChange: () => void;
  #asked = false;

  /** `onChange` is called when something changed that should not wait, once until changes are taken. */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** Sessions that wait to be reported. */
  get size(): number {
    return this.#changed.size;
  }

  /** Looks at a session again. Cheap: it is called for every task that comes and goes. */
  touch(session: Session): void {
    const last = this.#last.get(session);
    const now = fingerprint(session);
    if (last === now) {
      this.#changed.delete(session);
      return;
    }
    this.#changed.add(session);
    if (this.#asked || (last !== undefined && isFlip(last, now))) return;
    this.#asked = true;
    this.#onChange();
  }

  /** Takes up to `max` changes. */
  takeChanges(max: number): Session[] {
    this.#asked = false;
    const taken: Session[] = [];
    for (const session of this.#changed) {
      if (taken.length >= max) break;
      this.#changed.delete(session);
      taken.push(session);
    }
    return taken;
  }

  /** Describes sessions as they are now and remembers that they were told. */
  describe(sessions: readonly Session[]): Presence[] {
    for (const session of sessions) this.#last.set(session, fingerprint(session));
    return sessions.map(presenceOf);
  }

  /** The report did not arrive: the sessions are told again. The last word about an ended session is kept as well,
   * up to a limit; beyond it the registry's own expiry says LOST. */
  putBack(sessions: readonly Session[]): void {
    for (const session of sessions) {
      this.#last.delete(session);
      if (session.over && this.#changed.size >= PRESENCE_ENDED_MAX) continue;
      this.#changed.add(session);
    }
  }
}

/** Busy slots alone are left to the refresh: they change with every task. */
function fingerprint(session: Session): number {
  return STATE_CODES[presenceStateOf(session)] * SLOTS_SPAN + session.slots;
}

function isFlip(a: number, b: number): boolean {
  return (
    a % SLOTS_SPAN === b % SLOTS_SPAN &&
    FLIPS.has(Math.floor(a / SLOTS_SPAN)) &&
    FLIPS.has(Math.floor(b / SLOTS_SPAN))
  );
}
