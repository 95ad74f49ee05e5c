/** Where an agent is: with this replica, or with another one. */
import { Session } from "../session/session.ts";
import type { SessionDirectory } from "../session/session-directory.ts";
import type { RemoteAgent } from "./remote-agent.ts";
import type { RosterBook } from "./roster-book.ts";

/** An agent's session here, or what is known of it elsewhere. */
export type Place = Session | RemoteAgent;

/** Looks into both books. */
export class Places {
  readonly #directory: SessionDirectory;
  readonly #rosters: Pick<RosterBook, "find" | "agentsOf">;

  constructor(directory: SessionDirectory, rosters: Pick<RosterBook, "find" | "agentsOf">) {
    this.#directory = directory;
    this.#rosters = rosters;
  }

  /** Finds an agent's session: of two claims that of the newest epoch, then the one with a stream. */
  find(namespace: string, agentId: string): Place | undefined {
    const here = this.#directory.find(namespace, agentId);
    const there = this.#rosters.find(namespace, agentId);
    if (here === undefined || there === undefined) return here ?? there;
    if (here.epoch !== there.epoch) return here.epoch > there.epoch ? here : there;
    return !here.attached && there.attached ? there : here;
  }

  /** All agents of a namespace that have a session, each once. */
  *of(namespace: string): Iterable<Place> {
    for (const session of this.#directory.sessionsOf(namespace)) {
      yield this.find(namespace, session.agentId) ?? session;
    }
    for (const agent of this.#rosters.agentsOf(namespace)) {
      if (this.#directory.find(namespace, agent.agentId) === undefined) yield agent;
    }
  }
}

/** Says whether a place is this replica. */
export function isHere(place: Place): place is Session {
  return place instanceof Session;
}
