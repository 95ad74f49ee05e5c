import { setImmediate } from "node:timers/promises";
import type {
  AckSchema,
  ConnectRequestSchema,
  CreditSchema,
  HeartbeatSchema,
  SendSchema,
  StateOpSchema,
  SubscriptionSchema,
  TaskUpdateSchema,
} from "@nexus/proto/mesh";
import { MiB, NexusError } from "@nexus/shared";
import type { MessageInit } from "../message-init.ts";

/** A frame to the router. */
export type Frame = MessageInit<typeof ConnectRequestSchema>;
/** A word about a lease. */
export type UpdateInit = MessageInit<typeof TaskUpdateSchema>;
/** A message to send. */
export type SendInit = MessageInit<typeof SendSchema>;
type Kind = NonNullable<NonNullable<UpdateInit["update"]>["case"]>;
/** Whoever has something to say: a lease. Words are kept with it, as names that are looked up cost more than they. */
export interface Speaker {
  /** What waits of it, but for chunks; the latest first. */
  waiting: Word | undefined;
}
/** A word about a lease that waits for its frame. */
export interface Word {
  update: UpdateInit;
  readonly speaker: Speaker;
  /** The one before. */
  next: Word | undefined;
}
type AckInit = MessageInit<typeof AckSchema>;
/** An interest in a topic. */
export type SubscriptionInit = MessageInit<typeof SubscriptionSchema>;
/** An operation on state. */
export type StateOpInit = MessageInit<typeof StateOpSchema>;
/** An operation on state that waits for its frame. */
export interface WaitingStateOp {
  readonly number: number;
  /** At least what it takes in its frame. */
  readonly bytes: number;
  /** Makes the operation when its frame is taken; undefined when its time is over. */
  readonly cut: () => StateOpInit | undefined;
}
type CreditInit = MessageInit<typeof CreditSchema>;
type HeartbeatInit = MessageInit<typeof HeartbeatSchema>;

/** Half of what the contract allows: the router works on one frame while the next is made. */
const FRAME_ITEMS_MAX = 256;
/** Keeps a frame well below the 4 MiB of a gRPC message, whatever the size of the outputs in it. */
const FRAME_BYTES_MAX = 1024 * 1024;
const ITEM_OVERHEAD_BYTES = 128;
/** Output chunks of all tasks together that may wait for the stream. */
export const CHUNK_BYTES_WAITING_MAX = 4 * MiB;

/** Gathers what an agent has to say and cuts it into frames, at the speed at which the stream takes them.
 *
 * Bounded: of each lease it holds one word of a kind, the latest, and of all leases CHUNK_BYTES_WAITING_MAX of
 * chunks; acks and replies are bounded by message credit and by what is kept of them, other messages by the mailbox, which looks at
 * `sendsWaiting`, operations on state by their own credit; everything else is a single value. */
export class Outbox {
  #words: Word[] = [];
  #chunkBytes = 0;
  #sends: SendInit[] = [];
  #acks: AckInit[] = [];
  #subscribes: SubscriptionInit[] = [];
  #unsubscribes: SubscriptionInit[] = [];
  #cancels: string[] = [];
  #stateOps: WaitingStateOp[] = [];
  #stateCancels: number[] = [];
  #heartbeat: (() => HeartbeatInit) | undefined;
  #credit: CreditInit | undefined;
  #accessToken: string | undefined;
  #goodbye: string | undefined;
  #wake: (() => void) | undefined;
  /** Counts streams: frames of an older one must not reach a newer one. */
  #generation = 0;
  #closing = false;

  /** Says a word about a lease: said again while it waits, it is replaced. Only a chunk can be refused.
   *
   * Errors: exhausted/QUEUE_FULL when too many bytes of chunks wait already. */
  update(update: UpdateInit, speaker: Speaker): void {
    if (update.update?.case === "chunk") {
      const bytes = updateBytes(update) + ITEM_OVERHEAD_BYTES;
      if (this.#chunkBytes + bytes > CHUNK_BYTES_WAITING_MAX) throw chunksFull();
      this.#chunkBytes += bytes;
      this.#words.push({ update, speaker, next: undefined });
    } else {
      this.#updateOnce(update, speaker);
    }
    this.#changed();
  }

  #updateOnce(update: UpdateInit, speaker: Speaker): void {
    const kind = update.update?.case;
    const waiting = findWord(speaker, kind) ?? this.#findBeginning(speaker, kind);
    if (waiting !== undefined) {
      waiting.update = update;
      return;
    }
    const word = { update, speaker, next: speaker.waiting };
    speaker.waiting = word;
    this.#words.push(word);
  }

  /** The word that a lease has begun, if it still waits and its end may take its place: an end says both. Not while there
   * is something to be said between the two. */
  #findBeginning(speaker: Speaker, kind: Kind | undefined): Word | undefined {
    if (kind !== "completed" && kind !== "failed") return undefined;
    if (this.#chunkBytes > 0 || findWord(speaker, "progress") !== undefined) return undefined;
    return findWord(speaker, "accepted");
  }

  /** Messages that the stream has not taken yet. */
  get sendsWaiting(): number {
    return this.#sends.length;
  }

  send(message: SendInit): void {
    this.#sends.push(message);
    this.#changed();
  }

  ack(ack: AckInit): void {
    this.#acks.push(ack);
    this.#changed();
  }

  subscribe(subscription: SubscriptionInit): void {
    this.#subscribes.push(subscription);
    this.#changed();
  }

  unsubscribe(subscription: SubscriptionInit): void {
    this.#unsubscribes.push(subscription);
    this.#changed();
  }

  stateOp(op: WaitingStateOp): void {
    this.#stateOps.push(op);
    this.#changed();
  }

  /** Takes an operation on state back. True: it waited here still and was never sent. */
  cancelStateOp(number: number): boolean {
    const at = this.#stateOps.findIndex((op) => op.number === number);
    if (at >= 0) this.#stateOps.splice(at, 1);
    else this.#stateCancels.push(number);
    this.#changed();
    return at >= 0;
  }

  /** Takes a message back. One that waits here still was never sent. */
  cancelSend(messageId: string): void {
    if (this.takeBack(messageId)) return;
    this.#cancels.push(messageId);
    this.#changed();
  }

  /** Takes a message out that waits for the stream; false when it does not. */
  takeBack(messageId: string): boolean {
    const at = this.#sends.findIndex((send) => send.messageId === messageId);
    if (at >= 0) this.#sends.splice(at, 1);
    return at >= 0;
  }

  /** `read` is called when the frame is taken: a load of before the ends that go with it would count their tasks twice over. */
  heartbeat(read: () => HeartbeatInit): void {
    this.#heartbeat = read;
    this.#changed();
  }

  /** Slots replace what waits; message credit adds to it. */
  credit(credit: CreditInit): void {
    const slots = credit.slots ?? this.#credit?.slots;
    const messages = (this.#credit?.messages ?? 0) + (credit.messages ?? 0);
    this.#credit = slots === undefined ? { messages } : { messages, slots };
    this.#changed();
  }

  reauth(accessToken: string): void {
    this.#accessToken = accessToken;
    this.#changed();
  }

  goodbye(reason: string): void {
    this.#goodbye = reason;
    this.#changed();
  }

  /** Frames for one stream until close() or reset(), the given one first. A new call ends the one before. */
  frames(first: Frame): AsyncGenerator<Frame> {
    this.#generation += 1;
    this.#closing = false;
    this.#changed();
    return this.#cut(first, this.#generation);
  }

  async *#cut(first: Frame, generation: number): AsyncGenerator<Frame> {
    yield first;
    while (this.#isCurrent(generation)) {
      if (this.#hasWork()) {
        // What one turn of the event loop has to say leaves together.
        await setImmediate();
        if (this.#isCurrent(generation) && this.#hasWork()) yield this.#takeFrame();
      } else if (this.#closing) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  /** Forgets everything unsent and ends the stream. */
  reset(): void {
    this.#generation += 1;
    for (const { speaker } of this.#words) speaker.waiting = undefined;
    this.#words = [];
    this.#chunkBytes = 0;
    this.#sends = [];
    this.#acks = [];
    this.#subscribes = [];
    this.#unsubscribes = [];
    this.#cancels = [];
    this.#stateOps = [];
    this.#stateCancels = [];
    this.#heartbeat = undefined;
    this.#credit = undefined;
    this.#accessToken = undefined;
    this.#goodbye = undefined;
    this.#changed();
  }

  /** Lets the stream end once everything is sent. */
  close(): void {
    this.#closing = true;
    this.#changed();
  }

  #isCurrent(generation: number): boolean {
    return generation === this.#generation;
  }

  #changed(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  #hasItems(): boolean {
    const topics = this.#subscribes.length + this.#unsubscribes.length + this.#cancels.length;
    const more = topics + this.#stateOps.length + this.#stateCancels.length;
    return this.#words.length + this.#sends.length + this.#acks.length + more > 0;
  }

  #hasWork(): boolean {
    const single = this.#heartbeat ?? this.#credit ?? this.#accessToken ?? this.#goodbye;
    return this.#hasItems() || single !== undefined;
  }

  #takeUpdates(): UpdateInit[] {
    const taken = takeBytes(this.#words, ({ update }) => updateBytes(update));
    return taken.map((word) => {
      this.#forget(word);
      return word.update;
    });
  }

  #forget(word: Word): void {
    const { update, speaker } = word;
    if (update.update?.case === "chunk") {
      this.#chunkBytes -= updateBytes(update) + ITEM_OVERHEAD_BYTES;
    } else if (speaker.waiting === word) {
      speaker.waiting = word.next;
    } else {
      let later = speaker.waiting;
      while (later !== undefined && later.next !== word) later = later.next;
      if (later !== undefined) later.next = word.next;
    }
  }

  #takeFrame(): Frame {
    const frame: Frame = {
      taskUpdates: this.#takeUpdates(),
      sends: takeBytes(this.#sends, (send) => send.payload?.data?.byteLength ?? 0),
      acks: this.#acks.splice(0, FRAME_ITEMS_MAX),
      subscribes: this.#subscribes.splice(0, FRAME_ITEMS_MAX),
      unsubscribes: this.#unsubscribes.splice(0, FRAME_ITEMS_MAX),
      sendCancels: this.#cancels.splice(0, FRAME_ITEMS_MAX),
      stateOps: takeBytes(this.#stateOps, ({ bytes }) => bytes).flatMap(({ cut }) => cut() ?? []),
      stateCancels: this.#stateCancels.splice(0, FRAME_ITEMS_MAX),
    };
    if (this.#heartbeat !== undefined) frame.heartbeat = this.#heartbeat();
    if (this.#credit !== undefined) frame.credit = this.#credit;
    if (this.#accessToken !== undefined) frame.reauth = { accessToken: this.#accessToken };
    this.#heartbeat = undefined;
    this.#credit = undefined;
    this.#accessToken = undefined;
    // A goodbye ends the stream, so it leaves with the last items, never before them.
    if (this.#goodbye !== undefined && !this.#hasItems()) {
      frame.goodbye = { reason: this.#goodbye };
      this.#goodbye = undefined;
    }
    return frame;
  }
}

function takeBytes<T>(items: T[], bytesOf: (item: T) => number): T[] {
  let bytes = 0;
  let count = 0;
  for (const item of items) {
    bytes += bytesOf(item) + ITEM_OVERHEAD_BYTES;
    if (count === FRAME_ITEMS_MAX || (count > 0 && bytes > FRAME_BYTES_MAX)) break;
    count += 1;
  }
  return items.splice(0, count);
}

function findWord(speaker: Speaker, kind: Kind | undefined): Word | undefined {
  let word = speaker.waiting;
  while (word !== undefined && word.update.update?.case !== kind) word = word.next;
  return word;
}

function chunksFull(): NexusError {
  const message = `More than ${CHUNK_BYTES_WAITING_MAX / MiB} MiB of output chunks wait to be sent.`;
  return new NexusError({ kind: "exhausted", reason: "QUEUE_FULL", message });
}

function updateBytes(update: UpdateInit): number {
  const word = update.update;
  if (word?.case === "completed") return word.value.output?.data?.byteLength ?? 0;
  if (word?.case === "chunk") return word.value.data?.byteLength ?? 0;
  return 0;
}
