/** Replies in parts: each is asked of its handler only as fast as the asker takes them, and one that lost a part ends. */
import { DeliveryOutcome, type SendOutcome } from "@nexus/proto/mesh";
import type { Ids } from "@nexus/shared";
import { toPayload } from "../payload.ts";
import type { Outbox } from "./outbox.ts";

/** Parts of one reply that their asker has not taken yet. Less than what its queue at the router holds, 1 000. */
const PARTS_UNDER_WAY_MAX = 256;

/** One reply. */
interface Stream {
  underWay: number;
  /** True once a part did not arrive, or nobody knows whether it did: what follows would hide the gap. */
  cut: boolean;
  wake: (() => void) | undefined;
}

/** Owns the parts that have no outcome yet. */
export class ReplyParts {
  readonly #outbox: Outbox;
  readonly #ids: Ids;
  readonly #underWay = new Map<string, Stream>();

  constructor(outbox: Outbox, ids: Ids) {
    this.#outbox = outbox;
    this.#ids = ids;
  }

  /** Answers a delivery with what a handler yields; ends early when nobody takes it any more. */
  async send(
    deliveryId: string,
    bodies: AsyncIterable<unknown>,
    signal: AbortSignal,
  ): Promise<void> {
    const stream: Stream = { underWay: 0, cut: false, wake: undefined };
    const isOver = () => signal.aborted || stream.cut;
    let held: { readonly body: unknown } | undefined;
    for await (const body of bodies) {
      if (isOver()) return;
      // The last part has to say that it is the last.
      if (held !== undefined) this.#part(deliveryId, held.body, stream);
      held = { body };
      if (stream.underWay >= PARTS_UNDER_WAY_MAX) await room(stream);
    }
    if (isOver()) return;
    const payload = toPayload(held?.body);
    this.#outbox.send({ messageId: this.#ids.next("msg"), inReplyTo: deliveryId, payload });
  }

  /** Takes in the router's word on a part. */
  settle({ messageId, outcome }: SendOutcome): void {
    const stream = this.#underWay.get(messageId);
    if (stream === undefined) return;
    this.#underWay.delete(messageId);
    stream.underWay -= 1;
    if (outcome !== DeliveryOutcome.DELIVERED) stream.cut = true;
    stream.wake?.();
  }

  /** The stream broke: which parts arrived nobody knows. */
  connectionLost(): void {
    for (const stream of this.#underWay.values()) {
      stream.cut = true;
      stream.wake?.();
    }
    this.#underWay.clear();
  }

  #part(deliveryId: string, body: unknown, stream: Stream): void {
    const messageId = this.#ids.next("msg");
    this.#underWay.set(messageId, stream);
    stream.underWay += 1;
    this.#outbox.send({ messageId, inReplyTo: deliveryId, payload: toPayload(body), more: true });
  }
}

/** Resolves with the next word on a part. */
function room(stream: Stream): Promise<void> {
  return new Promise((resolve) => {
    stream.wake = resolve;
  });
}
