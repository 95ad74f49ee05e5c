/** Replies in parts: each is asked of its handler only as fast as the asker takes them, and one that lost a part ends. */
import { DeliveryOutcome, type SendOutcome } from "@nexus/proto/mesh";
import { type Ids, KiB, onAbort } from "@nexus/shared";
import { toPayload } from "../payload.ts";
import type { Outbox, SendInit } from "./outbox.ts";

/** Parts of one reply that their asker has not taken yet. Less than what its queue at the router holds, 1 000. */
const PARTS_UNDER_WAY_MAX = 256;
/** Their bytes, from which on no further one is sent: with the largest on top twice that, and an asker may have 4 MiB of parts. */
const BYTES_UNDER_WAY_MAX = 256 * KiB;

/** A request that is to be answered. */
export interface Asked {
  readonly deliveryId: string;
  /** Epoch milliseconds after which nobody waits any more. */
  readonly deadlineAtMs: number;
}

/** One reply. */
interface Stream {
  readonly asked: Asked;
  readonly signal: AbortSignal;
  underWay: number;
  bytes: number;
  /** True once a part did not arrive, or nobody knows whether it did: what follows would hide the gap. */
  cut: boolean;
  wake: (() => void) | undefined;
}

/** A part that has no outcome yet. */
interface Part {
  readonly stream: Stream;
  readonly send: SendInit;
  readonly bytes: number;
  /** How often it was given to a stream. */
  tries: number;
}

interface Held {
  readonly body: unknown;
}

/** Owns the parts that have no outcome yet, but for the last ones. */
export class ReplyParts {
  readonly #outbox: Outbox;
  readonly #ids: Ids;
  readonly #onCut: (asked: Asked) => void;
  /** In order. */
  readonly #underWay = new Map<string, Part>();
  #connected = false;
  /** The last stream ended in order, and the next one is to come, which says whether the router has what that one brought. */
  #turning = false;

  /** `onCut` tells whoever asked that no further part comes. */
  constructor(outbox: Outbox, ids: Ids, onCut: (asked: Asked) => void) {
    this.#outbox = outbox;
    this.#ids = ids;
    this.#onCut = onCut;
  }

  /** Answers a request with what a handler yields, all but the last, which it returns; undefined when nobody takes it any more.
   *
   * Errors: what the handler throws, once what it yielded before is taken. */
  async send(
    asked: Asked,
    bodies: AsyncIterable<unknown>,
    signal: AbortSignal,
  ): Promise<Held | undefined> {
    const stream: Stream = { asked, signal, underWay: 0, bytes: 0, cut: false, wake: undefined };
    const leave = onAbort(signal, () => stream.wake?.());
    try {
      const last = await this.#sendAll(bodies, stream);
      return isOver(stream) ? undefined : last;
    } finally {
      leave();
    }
  }

  async #sendAll(bodies: AsyncIterable<unknown>, stream: Stream): Promise<Held> {
    let held: Held | undefined;
    try {
      for await (const body of bodies) {
        if (isOver(stream)) break;
        // The last part has to say that it is the last.
        if (held !== undefined) this.#part(held.body, stream);
        held = { body };
        while (isFull(stream) && !isOver(stream)) await news(stream);
      }
    } catch (error) {
      if (held !== undefined && !isOver(stream)) this.#part(held.body, stream);
      while (stream.underWay > 0 && !isOver(stream)) await news(stream);
      throw error;
    }
    return held ?? { body: undefined };
  }

  /** Takes in the router's word on a part. */
  settle({ messageId, outcome, reason }: SendOutcome): void {
    const part = this.#underWay.get(messageId);
    if (part === undefined) return;
    const { stream, bytes, tries } = part;
    // The outcome of the first is to come.
    if (tries > 1 && reason === "MESSAGE_ID_PENDING") return;
    this.#underWay.delete(messageId);
    stream.underWay -= 1;
    stream.bytes -= bytes;
    if (outcome === DeliveryOutcome.DELIVERED) stream.wake?.();
    else this.#cut(stream);
  }

  /** A stream is open: what never left goes, and after one that ended in order what has no outcome goes again, if the router holds what
   * that one brought. */
  connected(held: boolean): void {
    if (!(this.#turning && held)) this.#cutLost();
    this.#connected = true;
    this.#turning = false;
    for (const part of this.#underWay.values()) this.#give(part);
  }

  /** The stream is over. Unless it ended in order (`isComplete`), which parts arrived nobody knows. */
  connectionLost(isComplete: boolean): void {
    // A stream that got no welcome brought nothing.
    if (this.#turning && !this.#connected) return;
    this.#turning = this.#connected && isComplete;
    this.#connected = false;
    if (!this.#turning) this.#cutLost();
  }

  /** There will be no other stream. */
  close(): void {
    const streams = new Set([...this.#underWay.values()].map(({ stream }) => stream));
    this.#underWay.clear();
    for (const stream of streams) this.#cut(stream);
  }

  #cutLost(): void {
    for (const { stream, tries } of [...this.#underWay.values()]) if (tries > 0) this.#cut(stream);
    for (const [messageId, { stream }] of this.#underWay) {
      if (stream.cut) this.#underWay.delete(messageId);
    }
  }

  #cut(stream: Stream): void {
    if (!stream.cut) this.#onCut(stream.asked);
    stream.cut = true;
    stream.wake?.();
  }

  #part(body: unknown, stream: Stream): void {
    const messageId = this.#ids.next("msg");
    const payload = toPayload(body);
    const bytes = payload.data.byteLength;
    const send = { messageId, inReplyTo: stream.asked.deliveryId, payload, more: true };
    const part = { stream, send, bytes, tries: 0 };
    this.#underWay.set(messageId, part);
    stream.underWay += 1;
    stream.bytes += bytes;
    if (this.#connected) this.#give(part);
  }

  #give(part: Part): void {
    part.tries += 1;
    this.#outbox.send(part.send);
  }
}

function isOver({ signal, cut }: Stream): boolean {
  return signal.aborted || cut;
}

function isFull({ underWay, bytes }: Stream): boolean {
  return underWay >= PARTS_UNDER_WAY_MAX || bytes >= BYTES_UNDER_WAY_MAX;
}

/** Resolves with the next word on a part, or when nobody waits any more. */
function news(stream: Stream): Promise<void> {
  return new Promise((resolve) => {
    stream.wake = resolve;
  });
}
