/** Who hears what inside one replica. */
import type { BusEvents, BusGap, BusMessage, BusSubscriber, PeerObserver } from "./bus.ts";

/** Hands messages, gaps and peers to those who asked, whatever one of them throws. */
export class Subscribers {
  readonly #events: BusEvents;
  readonly #byKind = new Map<string, BusSubscriber>();
  readonly #observers = new Set<PeerObserver>();

  constructor(events: BusEvents) {
    this.#events = events;
  }

  /** Adds the subscriber of a kind. Errors: a TypeError when it has one. */
  add(kind: string, subscriber: BusSubscriber): () => void {
    if (this.#byKind.has(kind)) throw new TypeError(`the kind ${kind} has its subscriber`);
    this.#byKind.set(kind, subscriber);
    return () => {
      if (this.#byKind.get(kind) === subscriber) this.#byKind.delete(kind);
    };
  }

  /** Adds an observer and tells it of these peers. */
  watch(observer: PeerObserver, peers: readonly string[]): () => void {
    this.#observers.add(observer);
    for (const peer of peers) this.#guard("peers", () => observer.peerJoined(peer));
    return () => this.#observers.delete(observer);
  }

  /** Hands a message over; one that nobody wants is let go. */
  deliver(message: BusMessage): void {
    const subscriber = this.#byKind.get(message.kind);
    if (subscriber !== undefined) this.#guard(message.kind, () => subscriber.onMessage(message));
  }

  /** Tells everybody of a gap. */
  tellGap(gap: BusGap): void {
    this.#events.gap(gap);
    for (const [kind, subscriber] of [...this.#byKind]) {
      this.#guard(kind, () => subscriber.onGap(gap));
    }
  }

  joined(replicaId: string): void {
    for (const observer of [...this.#observers]) {
      this.#guard("peers", () => observer.peerJoined(replicaId));
    }
  }

  lost(replicaId: string): void {
    for (const observer of [...this.#observers]) {
      this.#guard("peers", () => observer.peerLost(replicaId));
    }
  }

  #guard(kind: string, tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.#events.subscriberFailed(kind, error);
    }
  }
}
