/** What replicas tell each other, as the domain sees it, and how it reaches them. */
import type { Letter, SendResult, Verdict } from "../message/letter.ts";
import type { Published } from "../topic/topic-book.ts";

/** A message for an agent of another replica. */
export interface RelayedMessage {
  /** Names it between the two replicas. */
  readonly deliveryId: string;
  readonly namespace: string;
  readonly from: string;
  readonly toAgentId: string;
  readonly letter: Letter;
}

/** A message to many agents of another replica. */
export interface RelayedCopies {
  readonly namespace: string;
  readonly from: string;
  readonly toAgentIds: readonly string[];
  readonly letter: Letter;
}

/** A reply to a message that came from another replica. */
export interface RelayedReply {
  readonly deliveryId: string;
  readonly requestId: string;
  readonly from: string;
  readonly letter: Letter;
}

/** What became of a message or a reply that came from another replica. */
export interface RelayedOutcome {
  readonly deliveryId: string;
  readonly verdict: Verdict;
}

/** One thing that a replica tells another. */
export type RelayedItem =
  | { readonly kind: "message"; readonly message: RelayedMessage }
  | { readonly kind: "copies"; readonly copies: RelayedCopies }
  | { readonly kind: "reply"; readonly reply: RelayedReply }
  | { readonly kind: "outcome"; readonly outcome: RelayedOutcome }
  | { readonly kind: "cancel"; readonly deliveryId: string }
  | { readonly kind: "publication"; readonly namespace: string; readonly published: Published };

/** Carries items to other replicas. False when an item was not taken: nothing is kept waiting. */
export interface ReplicaLink {
  /** False while nothing is carried. */
  readonly isConnected: boolean;
  send(replicaId: string, item: RelayedItem): boolean;
}

/** A session of an agent, as its replica tells of it. */
export interface RosterSession {
  readonly kind: "session";
  readonly namespace: string;
  readonly agentId: string;
  readonly epoch: bigint;
  readonly attached: boolean;
}

/** An interest that ends with its session. */
export interface RosterSubscription {
  readonly kind: "subscription";
  readonly namespace: string;
  readonly agentId: string;
  readonly pattern: string;
  readonly group: string;
}

/** A pattern that somebody watches. */
export interface RosterWatch {
  readonly kind: "watch";
  readonly namespace: string;
  readonly pattern: string;
}

/** Something that is at a replica. */
export type RosterEntry = RosterSession | RosterSubscription | RosterWatch;

/** Something began or changed at a replica, or ended. */
export interface RosterChange {
  readonly entry: RosterEntry;
  readonly gone: boolean;
}

/** What a replica tells of itself. */
export interface Roster {
  readonly sequence: number;
  readonly changes: readonly RosterChange[];
}

/** Where a session is, as the table says. */
export interface Whereabouts {
  readonly routerId: string;
  readonly epoch: bigint;
}

/** Says where sessions are: the truth. Keys as nameKey() makes them; agents without a session are absent. Errors: unavailable. */
export interface Locator {
  locate(
    names: readonly { readonly namespace: string; readonly agentId: string }[],
  ): Promise<ReadonlyMap<string, Whereabouts>>;
}

/** Takes what another replica sent. */
export interface RelayedSink {
  take(from: string, item: RelayedItem): void;
}

/** The reason by which a replica says that an agent's session is not with it. Senders never see it. */
export const NOT_HERE = "NOT_HERE";

/** Says whether a result is that word. */
export function isNotHere({ outcome, reason }: Verdict | SendResult): boolean {
  return outcome === "no_such_agent" && reason === NOT_HERE;
}
