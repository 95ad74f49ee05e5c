import { randomUUID } from "node:crypto";
import { type NexusError, PassingMap } from "@nexus/shared";
import { TaskTally } from "../dispatch/task-tally.ts";
import { sessionTooSlow } from "../mesh-errors.ts";
import { Breaker } from "../message/breaker.ts";
import type { CarriedOrder, SessionName } from "../message/carried.ts";
import { Inbox } from "../message/inbox.ts";
import type { SendResult } from "../message/letter.ts";
import type { Deliverable, Message, Receiver, Sender, Unsettled } from "../message/message.ts";
import { type DrainNotice, type Note, Outbox } from "../message/outbox.ts";
import { isAttached, isOver, type SessionState } from "./session-state.ts";

/** The stream that serves a session now. */
export interface SessionStream {
  /** True while something waits to be written that is not in the outbox. */
  readonly hasAnswers: boolean;
  /** Something waits in the outbox. */
  wake(): void;
  /** Ends the stream at once, with an error. */
  fail(error: NexusError): void;
  /** Ends the stream with OK once everything is written. */
  finish(): void;
}

/** What a session is made from. */
export interface SessionInit extends SessionName {
  readonly sessionId: string;
  readonly resumeHash: Uint8Array;
  readonly slots: number;
  readonly nowMs: number;
}

/** What a session has in hand. */
class Delivered extends PassingMap<string, Message> {
  /** Of parts of replies, whose bodies are kept until they are taken. */
  partBytes = 0;

  override set(deliveryId: string, message: Message): this {
    if (message.part > 0) this.partBytes += message.sizeBytes;
    return super.set(deliveryId, message);
  }

  override delete(deliveryId: string): boolean {
    if (this.partBytes > 0) this.#forget(this.get(deliveryId));
    return super.delete(deliveryId);
  }

  #forget(message: Message | undefined): void {
    if (message !== undefined && message.part > 0) this.partBytes -= message.sizeBytes;
  }
}

/** A stream's end in order. */
interface Turn {
  /** Names it. */
  readonly complete: string;
  /** Messages that had no outcome then: they are sent again on the next stream. */
  readonly inDoubt: Set<string>;
  /** A hello has named it. */
  readonly isPresented: boolean;
}

/** One epoch of one agent: who it is, how it stands, and everything that waits for it.
 *
 * Holds state and puts items on the agent's stream; the rules are in session-lifecycle, dispatch-hub and
 * message-engine. */
export class Session implements SessionName, Sender, Receiver {
  readonly isRemote = false;
  readonly namespace: string;
  readonly agentId: string;
  readonly epoch: bigint;
  readonly sessionId: string;
  readonly resumeHash: Uint8Array;
  /** Written by the lifecycle only, by the table. */
  state: SessionState = "detached";
  stream: SessionStream | undefined;
  slots: number;
  lastFrameAtMs: number;
  /** When a detached session is given up. */
  detachedUntilMs = 0;
  /** True while its end is being stored: it can no longer be resumed here. */
  ending = false;
  /** True once an item found no room: the stream is ending for it. */
  overflowed = false;
  /** When nothing was last seen to wait, or a frame was taken. */
  readAtMs: number;
  readonly outbox = new Outbox();
  readonly tasks = new TaskTally();
  /** Deliveries that the agent still grants. */
  credit = 0;
  readonly inbox = new Inbox<Message>();
  readonly delivered = new Delivered();
  readonly unsettled = new PassingMap<string, Unsettled>();
  /** It is known from its row only, since this process began. */
  isRevived = false;
  /** How its last two streams ended that ended in order: its agent may not have got a word of the last one. */
  #turns: readonly Turn[] = [];
  /** Something was written since: if its agent presents the same end once more, nobody read that, and it is lost. */
  #toldSince = false;
  readonly breaker = new Breaker();
  /** Its durable messages, while it reads them. */
  mailbox: { readonly size: number } | undefined;

  constructor(init: SessionInit) {
    this.namespace = init.namespace;
    this.agentId = init.agentId;
    this.epoch = init.epoch;
    this.sessionId = init.sessionId;
    this.resumeHash = init.resumeHash;
    this.slots = init.slots;
    this.lastFrameAtMs = init.nowMs;
    this.readAtMs = init.nowMs;
  }

  get principalId(): string {
    return this.agentId;
  }

  get over(): boolean {
    return isOver(this.state);
  }

  get attached(): boolean {
    return isAttached(this.state);
  }

  /** Messages that it has in hand or before it, durable ones as far as memory holds them. */
  get waiting(): number {
    const { inbox, delivered, outbox, mailbox } = this;
    return inbox.size + delivered.size + outbox.items + (mailbox?.size ?? 0);
  }

  pauseMs(nowMs: number): number {
    return this.breaker.pauseMs(nowMs);
  }

  /** Puts an assignment on the stream; false when there is no room. */
  offerAssignment(item: CarriedOrder): boolean {
    const queued = this.outbox.pushAssignment(item);
    if (queued) this.stream?.wake();
    return queued;
  }

  pushCancel(item: CarriedOrder): void {
    this.#pushed(this.outbox.pushCancel(item));
  }

  pushResult(item: Uint8Array): void {
    this.#pushed(this.outbox.pushResult(item));
  }

  pushDelivery(delivery: Deliverable): void {
    this.#pushed(this.outbox.pushDelivery(delivery));
  }

  /** Says something that is no item of work. */
  pushNote(note: Note): void {
    if (!this.over) this.#pushed(this.outbox.pushNote(note));
  }

  cancelDelivery(deliveryId: string): void {
    this.pushNote({ kind: "cancel", deliveryId });
  }

  pushDrain(notice: DrainNotice): void {
    this.outbox.setDrain(notice);
    this.stream?.wake();
  }

  /** Its stream ends in order; returns what names this end. */
  turnStream(): string {
    const inDoubt = new Set(this.unsettled.keys());
    const turn = { complete: randomUUID(), inDoubt, isPresented: false };
    this.#turns = [turn, ...this.#turns.slice(0, 1)];
    return turn.complete;
  }

  /** A frame was taken for its stream. */
  told(): void {
    this.#toldSince = true;
  }

  /** A new stream presents the end of the last one that its agent has read; true when what that one brought is still in hand. */
  continueFrom(complete: string): boolean {
    const known = this.#turns.filter((turn) => turn.complete === complete);
    const isLost = this.#toldSince && known[0]?.isPresented === true;
    this.#turns = isLost ? [] : known.map((turn) => ({ ...turn, isPresented: true }));
    this.#toldSince = false;
    return this.#turns.length > 0;
  }

  /** True of a message that is sent again though its outcome came meanwhile: that one is on its way, and the message is not taken twice. */
  knows(messageId: string): boolean {
    const [turn] = this.#turns;
    return turn?.inDoubt.delete(messageId) === true && !this.unsettled.has(messageId);
  }

  /** It takes a message back: should another one have the id, it is new. */
  tookBack(messageId: string): void {
    this.#turns[0]?.inDoubt.delete(messageId);
  }

  /** Queues the outcome of one of its own messages. */
  takeResult(result: SendResult): void {
    if (this.over) return;
    this.#pushed(this.outbox.pushOutcome(result));
  }

  /** Items that cannot be refused end the stream of an agent that leaves no room for them. */
  #pushed(queued: boolean): void {
    if (queued) {
      this.stream?.wake();
      return;
    }
    this.overflowed = true;
    this.stream?.fail(sessionTooSlow());
  }
}
