/** Replies in parts: each is asked of its handler only as fast as the asker takes them, and one that lost a part ends. */
import { DeliveryOutcome, type SendOutcome } from "@nexus/proto/mesh";
import { type Ids, KiB } from "@nexus/shared";
import { toPayload } from "../payload.ts";
import type { Outbox } from "./outbox.ts";

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
  readonly bytes: number;
}

interface Held {
  readonly body: unknown;
}

/** Owns the parts that have no outcome yet, but for the last ones. */
export class ReplyParts {
  readonly #outbox: Outbox;
  readonly #ids: Ids;
  readonly #onCut: (asked: Asked) => void;
  readonly #underWay = new Map<string, Part>();

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
    const wake = (): void => stream.wake?.();
    signal.addEventListener("abort", wake, { once: true });
    try {
      const last = await this.#sendAll(bodies, stream);
      return isOver(stream) ? undefined : last;
    } finally {
      signal.removeEventListener("abort", wake);
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
  settle({ messageId, outcome }: SendOutcome): void {
    const part = this.#underWay.get(messageId);
    if (part === undefined) return;
    const { stream, bytes } = part;
    this.#underWay.delete(messageId);
    stream.underWay -= 1;
    stream.bytes -= bytes;
    if (outcome === DeliveryOutcome.DELIVERED) stream.wake?.();
    else this.#cut(stream);
  }

  /** The stream broke: which parts arrived nobody knows. */
  connectionLost(): void {
    const streams = new Set([...this.#underWay.values()].map(({ stream }) => stream));
    this.#underWay.clear();
    for (const stream of streams) this.#cut(stream);
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
    this.#underWay.set(messageId, { stream, bytes });
    stream.underWay += 1;
    stream.bytes += bytes;
    const inReplyTo = stream.asked.deliveryId;
    this.#outbox.send({ messageId, inReplyTo, payload, more: true });
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
