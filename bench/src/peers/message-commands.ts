/** What every message peer's program can be told, so that one scenario drives them all. */
import type { MessageLatency, MessageLoad, MessageRate } from "../load/messages.ts";

/** Where a peer's messages go. */
export interface MessagePlace {
  /** Connection string of its server. */
  readonly url: string;
  /** Name of the stream, or of the subject. */
  readonly name: string;
  /** Those of a group share the messages; each group gets all of them. */
  readonly groups: readonly string[];
}

/** One of those who take messages. */
export interface MessageTaker extends MessagePlace {
  readonly group: string;
  readonly consumer: string;
}

/** A peer's program. It is started for each sender and for each receiver. */
export interface MessagePeerCommands {
  /** Makes the stream and its groups, where the peer has any. */
  prepare(place: MessagePlace): Promise<void>;
  /** Connects a sender. */
  open(place: MessagePlace): Promise<void>;
  /** Connects a receiver and begins to take messages, each acknowledged when it has been read. */
  receive(taker: MessageTaker): Promise<void>;
  /** How many messages this process took. */
  takenIn(args: null): Promise<number>;
  sendSaturated(load: MessageLoad & { readonly inFlight: number }): Promise<MessageRate>;
  sendSteadily(load: MessageLoad & { readonly perSecond: number }): Promise<MessageLatency>;
  /** Ends the connection, and removes the stream if this process made it. */
  close(args: null): Promise<void>;
}
