import type { Session } from "./session.ts";

/** Every session that this replica holds: at most one per agent, connected or detached. */
export class SessionDirectory {
  readonly #byNamespace = new Map<string, Map<string, Session>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  find(namespace: string, agentId: string): Session | undefined {
    return this.#byNamespace.get(namespace)?.get(agentId);
  }

  /** Adds a session; it replaces an older epoch of the same agent. */
  add(session: Session): void {
    let agents = this.#byNamespace.get(session.namespace);
    if (agents === undefined) {
      agents = new Map();
      this.#byNamespace.set(session.namespace, agents);
    }
    if (!agents.has(session.agentId)) this.#size += 1;
    agents.set(session.agentId, session);
  }

  /** Removes exactly this session: a newer epoch stays. */
  remove(session: Session): void {
    const agents = this.#byNamespace.get(session.namespace);
    if (agents?.get(session.agentId) !== session) return;
    agents.delete(session.agentId);
    this.#size -= 1;
    if (agents.size === 0) this.#byNamespace.delete(session.namespace);
  }

  /** The sessions of a namespace. */
  sessionsOf(namespace: string): Iterable<Session> {
    return this.#byNamespace.get(namespace)?.values() ?? [];
  }

  /** Messages that wait for the credit of the slowest receiver. */
  longestInbox(): number {
    let longest = 0;
    for (const { inbox } of this) longest = Math.max(longest, inbox.size);
    return longest;
  }

  /** Receivers that are spared further messages, because they acknowledge none. */
  openBreakers(nowMs: number): number {
    let open = 0;
    for (const { breaker } of this) if (breaker.pauseMs(nowMs) > 0) open += 1;
    return open;
  }

  *[Symbol.iterator](): Iterator<Session> {
    for (const agents of this.#byNamespace.values()) yield* agents.values();
  }
}
