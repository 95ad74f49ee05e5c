/** The port: what the replicas of a service can tell each other, whatever carries it. */
import { KiB, MiB } from "@nexus/shared";

/** Bytes of a kind, and of a replica's name. */
export const NAME_BYTES_MAX = 255;

/** Bytes of one message; a larger one is not taken. */
export const BODY_BYTES_MAX = 8 * MiB;

/** Messages travel together up to this size; a larger one travels alone. */
export const BATCH_BYTES_MAX = 64 * KiB;

/** Something that one replica tells another. */
export interface BusMessage {
  /** A word of a small closed set, which says how to read the body. */
  readonly kind: string;
  /** The replica that said it. */
  readonly from: string;
  readonly body: Uint8Array;
}

/** Why messages may be missing. `started`: the bus listens from now on. `lost`: some were dropped, trimmed or never written.
 * `behind`: this replica read too slowly. */
export type GapCause = "started" | "lost" | "behind";

/** Messages may be missing. */
export interface BusGap {
  /** Whose; undefined: anybody's. */
  readonly from: string | undefined;
  readonly cause: GapCause;
}

/** Hears messages of one kind. Neither function may throw or wait; a throw is reported and the bus goes on. */
export interface BusSubscriber {
  onMessage(message: BusMessage): void;
  /** Messages may be missing from here on, so whatever was built from them is read anew from where the truth is. */
  onGap(gap: BusGap): void;
}

/** Hears which other replicas there are. A replica that was restarted is lost, then joins. */
export interface PeerObserver {
  peerJoined(replicaId: string): void;
  peerLost(replicaId: string): void;
}

/** Hears what the bus does, for metrics and logs. */
export interface BusEvents {
  published(messages: number): void;
  /** A message that was not taken, or not carried. */
  refused(messages: number): void;
  received(messages: number): void;
  gap(gap: BusGap): void;
  connected(again: boolean): void;
  /** Nothing is carried any more, or the first try to connect failed. The error holds no password and nothing that was said. */
  disconnected(error: unknown): void;
  /** Milliseconds from the publisher's clock to this one's. */
  lag(lagMs: number): void;
  subscriberFailed(kind: string, error: unknown): void;
}

/** Carries messages between the replicas of one service.
 *
 * At most once, in order for each pair of replicas and way (publish, or broadcast; not between the two). Whatever is lost is
 * told: every subscriber gets a gap before anything later of the same publisher, and at the latest with its next heartbeat.
 * So nothing that has to survive may be on the bus alone. */
export interface Bus extends AsyncDisposable {
  readonly replicaId: string;
  /** False while nothing is carried. */
  readonly isConnected: boolean;
  /** The other replicas that were heard of lately, in no order. */
  readonly peers: readonly string[];
  /** Sends to one replica. False when it was not taken: too large, too much waits, or nothing is carried now. Its receiver
   * learns of a gap. True means no more than that it was taken. */
  publish(to: string, kind: string, body: Uint8Array): boolean;
  /** Sends to every other replica; as publish(). */
  broadcast(kind: string, body: Uint8Array): boolean;
  /** Hears messages of a kind until the returned function is called. One subscriber for each kind; a second one throws. */
  subscribe(kind: string, subscriber: BusSubscriber): () => void;
  /** Hears of replicas until the returned function is called; told at once of those that are known. */
  watchPeers(observer: PeerObserver): () => void;
  /** Keeps a value for all replicas, for a time at most. False when it was not kept. */
  remember(key: string, value: Uint8Array, ttlMs: number): Promise<boolean>;
  /** Returns what a replica keeps there; undefined when there is nothing, or nobody to ask. */
  recall(key: string): Promise<Uint8Array | undefined>;
}
