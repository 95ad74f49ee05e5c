/** Looks in the table for agents that memory does not know, or knows wrong. Meanwhile their messages wait, in order. */
import { PassingMap } from "@nexus/shared";
import { SEEK_BATCH, SOUGHT_MAX } from "../limits.ts";
import { nameKey } from "../mail/mail-ports.ts";
import { Inbox } from "../message/inbox.ts";
import type { Message, Receiver } from "../message/message.ts";
import type { Locator, Whereabouts } from "./remote-ports.ts";

/** What the seeker is made from. */
export interface SeekerInit {
  readonly locator: Locator;
  /** It is known where an agent is, or that it has no session. */
  readonly onFound: (sought: SoughtAgent, whereabouts: Whereabouts | undefined) => void;
  /** The table could not be read. */
  readonly onUnknown: (sought: SoughtAgent) => void;
  readonly onFailed: (error: unknown) => void;
}

/** An agent that is being looked for. */
export class SoughtAgent implements Receiver {
  readonly isRemote = true;
  readonly over = false;
  readonly namespace: string;
  readonly agentId: string;
  readonly inbox = new Inbox<Message>();
  readonly delivered = new PassingMap<string, Message>();
  readonly breaker = undefined;

  constructor(namespace: string, agentId: string) {
    this.namespace = namespace;
    this.agentId = agentId;
  }

  cancelDelivery(): void {
    // Nobody has it yet.
  }
}

/** One statement at a time: whom nobody knows costs the table no more than that. */
export class Seeker {
  readonly #init: SeekerInit;
  readonly #sought = new Map<string, SoughtAgent>();
  #isSeeking = false;

  constructor(init: SeekerInit) {
    this.#init = init;
  }

  /** Agents that are being looked for. */
  get size(): number {
    return this.#sought.size;
  }

  find(namespace: string, agentId: string): SoughtAgent | undefined {
    return this.#sought.size === 0 ? undefined : this.#sought.get(nameKey(namespace, agentId));
  }

  /** Begins to look for an agent; undefined when too many are looked for. */
  seek(namespace: string, agentId: string): SoughtAgent | undefined {
    const key = nameKey(namespace, agentId);
    const known = this.#sought.get(key);
    if (known !== undefined) return known;
    if (this.#sought.size >= SOUGHT_MAX) return undefined;
    const sought = new SoughtAgent(namespace, agentId);
    this.#sought.set(key, sought);
    if (!this.#isSeeking) void this.#seekAll();
    return sought;
  }

  async #seekAll(): Promise<void> {
    this.#isSeeking = true;
    try {
      // Whoever asks in the same moment is looked up with the first.
      await Promise.resolve();
      while (this.#sought.size > 0) await this.#seekSome();
    } finally {
      this.#isSeeking = false;
    }
  }

  async #seekSome(): Promise<void> {
    const batch = [...this.#sought].slice(0, SEEK_BATCH);
    const found = await this.#locate(batch.map(([, sought]) => sought));
    for (const [key, sought] of batch) {
      this.#sought.delete(key);
      if (found === undefined) this.#init.onUnknown(sought);
      else this.#init.onFound(sought, found.get(key));
    }
  }

  async #locate(
    batch: readonly SoughtAgent[],
  ): Promise<ReadonlyMap<string, Whereabouts> | undefined> {
    try {
      return await this.#init.locator.locate(batch);
    } catch (error) {
      this.#init.onFailed(error);
      return undefined;
    }
  }
}
