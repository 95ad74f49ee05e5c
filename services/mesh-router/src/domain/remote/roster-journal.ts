/** What this replica tells others of itself: only what differs from what it told before. */
import { ROSTER_CHANGES_MAX } from "../limits.ts";
import { nameKey } from "../mail/mail-ports.ts";
import type { Session } from "../session/session.ts";
import type { Subscription } from "../topic/topic-book.ts";
import type { Roster, RosterChange, RosterEntry } from "./remote-ports.ts";

/** Owns the roster of this replica. */
export class RosterJournal {
  /** All that is here, by key. */
  readonly #entries = new Map<string, RosterEntry>();
  /** What was not told yet. */
  readonly #news = new Map<string, RosterChange>();
  readonly #onNews: () => void;
  #sequence = 0;

  constructor(onNews: () => void) {
    this.#onNews = onNews;
  }

  /** The number of the last news. */
  get sequence(): number {
    return this.#sequence;
  }

  /** A session changed. The end of an older epoch is no news: the newer one's beginning was. */
  sessionChanged({ namespace, agentId, epoch, attached, over }: Session): void {
    const entry = { kind: "session", namespace, agentId, epoch, attached } as const;
    const key = `s ${nameKey(namespace, agentId)}`;
    const known = this.#entries.get(key);
    if (known?.kind === "session") {
      if (known.epoch > epoch) return;
      if (!over && known.epoch === epoch && known.attached === attached) return;
    } else if (over) return;
    this.#note(key, { entry, gone: over });
  }

  sessionMoved(session: Session): void {
    this.sessionChanged(session);
  }

  /** An agent of this replica has an interest, or has it no more. Durable ones are in the table for all. */
  subscriptionChanged(namespace: string, subscription: Subscription, gone: boolean): void {
    const { agentId, pattern, group, durable } = subscription;
    const key = `t ${nameKey(namespace, agentId)} ${group} ${pattern}`;
    const isGone = gone || durable;
    if (this.#entries.has(key) !== isGone) return;
    const entry = { kind: "subscription", namespace, agentId, pattern, group } as const;
    this.#note(key, { entry, gone: isGone });
  }

  /** Somebody watches a pattern here, or nobody does any more. */
  watchChanged(namespace: string, pattern: string, gone: boolean): void {
    const key = `w ${namespace} ${pattern}`;
    if (this.#entries.has(key) !== gone) return;
    this.#note(key, { entry: { kind: "watch", namespace, pattern }, gone });
  }

  /** Takes the next news to tell; undefined when there are none. */
  takeNews(): Roster | undefined {
    if (this.#news.size === 0) return undefined;
    const changes: RosterChange[] = [];
    for (const [key, change] of this.#news) {
      if (changes.length === ROSTER_CHANGES_MAX) break;
      this.#news.delete(key);
      changes.push(change);
    }
    this.#sequence += 1;
    return { sequence: this.#sequence, changes };
  }

  /** All that is here, as of the last news. News that were not taken yet may be in it, and are told again. */
  whole(): Roster {
    const changes = [...this.#entries.values()].map((entry) => ({ entry, gone: false }));
    return { sequence: this.#sequence, changes };
  }

  #note(key: string, change: RosterChange): void {
    if (change.gone) this.#entries.delete(key);
    else this.#entries.set(key, change.entry);
    // In the order of the last changes: of two of one thing the later one counts.
    this.#news.delete(key);
    this.#news.set(key, change);
    this.#onNews();
  }
}
