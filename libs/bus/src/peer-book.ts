/** Which other replicas there are, and how far each was heard. Pure: the caller says what time it is. */
import type { BatchHead } from "./batch.ts";
import type { BusGap } from "./bus.ts";

/** The two ways by which a replica is told something: its own stream, and everybody's. */
export type Way = "own" | "all";

/** Hears what the book concludes. */
export interface PeerBookEvents {
  joined(replicaId: string): void;
  lost(replicaId: string): void;
  gap(gap: BusGap): void;
}

interface Peer {
  readonly incarnation: string;
  readonly heard: Record<Way, number>;
  heardAtMs: number;
}

/** Replicas that are known at once; beyond it the one that was silent for longest is forgotten. */
const PEERS_MAX = 256;
/** Earlier starts of a replica whose late batches are known to be late. */
const PAST_INCARNATIONS_MAX = 1_024;

/** Finds by sequence numbers what is missing, and by silence who is gone. */
export class PeerBook {
  readonly #lostAfterMs: number;
  readonly #sweepGapMaxMs: number;
  readonly #events: PeerBookEvents;
  readonly #peers = new Map<string, Peer>();
  readonly #past = new Set<string>();
  #sweptAtMs = Number.POSITIVE_INFINITY;

  /** Silence for `lostAfterMs` is the end of a replica. Sweeps that are more than `sweepGapMaxMs` apart were held up. */
  constructor(
    {
      lostAfterMs,
      sweepGapMaxMs,
    }: { readonly lostAfterMs: number; readonly sweepGapMaxMs: number },
    events: PeerBookEvents,
  ) {
    this.#lostAfterMs = lostAfterMs;
    this.#sweepGapMaxMs = sweepGapMaxMs;
    this.#events = events;
  }

  /** The replicas that are there. */
  get replicaIds(): readonly string[] {
    return [...this.#peers.keys()];
  }

  /** A batch came. False when it is a repetition, or the late word of an earlier start: it is to be left alone. */
  heard(head: BatchHead, way: Way, nowMs: number): boolean {
    const peer = this.#meet(head, nowMs);
    if (peer === undefined || head.sequence <= peer.heard[way]) return false;
    this.#advance(head.from, peer, way, head.sequence - 1);
    peer.heard[way] = head.sequence;
    return true;
  }

  /** A replica says how much it has written to this one's own stream, all of which was read. */
  told(from: string, written: number): void {
    const peer = this.#peers.get(from);
    if (peer !== undefined) this.#advance(from, peer, "own", written);
  }

  /** A replica says that it goes. */
  left(from: string): void {
    const peer = this.#peers.get(from);
    if (peer !== undefined) this.#forget(from, peer);
  }

  /** Gives up who was silent for too long. Time for which this process was held up itself is nobody's silence: what came meanwhile
   * is read only after the sweep that is late. */
  sweep(nowMs: number): void {
    const heldUpMs = Math.max(0, nowMs - this.#sweptAtMs - this.#sweepGapMaxMs);
    this.#sweptAtMs = nowMs;
    for (const [replicaId, peer] of [...this.#peers]) {
      peer.heardAtMs = Math.min(nowMs, peer.heardAtMs + heldUpMs);
      if (nowMs - peer.heardAtMs >= this.#lostAfterMs) this.#drop(replicaId);
    }
  }

  #advance(from: string, peer: Peer, way: Way, expected: number): void {
    if (expected <= peer.heard[way]) return;
    peer.heard[way] = expected;
    this.#events.gap({ from, cause: "lost" });
  }

  #meet({ from, incarnation }: BatchHead, nowMs: number): Peer | undefined {
    if (this.#past.has(incarnation)) return undefined;
    const known = this.#peers.get(from);
    if (known?.incarnation === incarnation) {
      known.heardAtMs = nowMs;
      return known;
    }
    if (known !== undefined) this.#forget(from, known);
    if (this.#peers.size >= PEERS_MAX) this.#drop(this.#mostSilent());
    const peer = { incarnation, heard: { own: 0, all: 0 }, heardAtMs: nowMs };
    this.#peers.set(from, peer);
    this.#events.joined(from);
    return peer;
  }

  /** An earlier start of a replica is over for good. */
  #forget(replicaId: string, { incarnation }: Peer): void {
    for (const oldest of this.#past) {
      if (this.#past.size < PAST_INCARNATIONS_MAX) break;
      this.#past.delete(oldest);
    }
    this.#past.add(incarnation);
    this.#drop(replicaId);
  }

  /** It may come back: what it says then is compared with nothing, which is a gap. */
  #drop(replicaId: string): void {
    this.#peers.delete(replicaId);
    this.#events.lost(replicaId);
  }

  #mostSilent(): string {
    let found: [string, Peer] | undefined;
    for (const entry of this.#peers) {
      if (found === undefined || entry[1].heardAtMs < found[1].heardAtMs) found = entry;
    }
    return found?.[0] ?? "";
  }
}
