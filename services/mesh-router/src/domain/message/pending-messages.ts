/** Messages without an outcome: their deadlines, and what they hold of memory. */
import {
  COPIES_PER_SENDER_MAX,
  FRAMES_HELD_BYTES,
  PENDING_BYTES_MAX,
  PENDING_MESSAGES_MAX,
  REPLIES_BYTES_MAX,
  REPLIES_MAX,
  WAITING_PART,
} from "../limits.ts";
import { DeadlineWheel } from "./deadline-wheel.ts";
import type { Letter } from "./letter.ts";
import type { Message, Receiver, Sender } from "./message.ts";
import { hasToWait } from "./message-rules.ts";
import { Room } from "./room.ts";
import { SenderTallies, type SenderTally } from "./sender-tally.ts";

/** Counts the messages of a replica and their bytes.
 *
 * A message shows parts of the frame that it came in, which most have left before the next frame is read: to copy each would cost more than all
 * else. What stays longer is copied out after so many bytes of frames, so no more than that is held without being counted. */
export class PendingMessages {
  readonly #deadlines: DeadlineWheel<Message>;
  readonly #room = new Room(PENDING_MESSAGES_MAX, PENDING_BYTES_MAX);
  readonly #replies = new Room(REPLIES_MAX, REPLIES_BYTES_MAX);
  readonly #tallies = new SenderTallies();
  #frameBytes = 0;

  constructor(nowMs: number) {
    this.#deadlines = new DeadlineWheel(nowMs);
  }

  get size(): number {
    return this.#deadlines.size;
  }

  /** Of bodies that were not written yet. */
  get bytes(): number {
    return this.#room.bytes + this.#replies.bytes;
  }

  /** Counts for a sender what its own list does not hold. */
  tallyOf(sender: Pick<Sender, "namespace" | "principalId">): SenderTally {
    return this.#tallies.of(sender);
  }

  /** Says whether there is room for a message. What waits for its receiver leaves some to what goes straight on. */
  hasRoom({ namespace, tally }: Sender, { payload }: Letter, receiver: Receiver): boolean {
    if (tally !== undefined && tally.messages >= COPIES_PER_SENDER_MAX) return false;
    const bytes = payload.byteLength;
    const room = this.#room;
    return (
      room.fits(namespace, bytes, WAITING_PART) ||
      (!hasToWait(receiver) && room.fits(namespace, bytes))
    );
  }

  /** Says whether there is room for a reply. */
  hasRoomForReply({ namespace }: Sender, { payload }: Letter): boolean {
    return this.#replies.fits(namespace, payload.byteLength);
  }

  add(message: Message): void {
    const { sender } = message;
    sender.unsettled.set(message.unsettledKey, message);
    sender.tally?.add();
    this.#deadlines.add(message);
    const room = message.request === undefined ? this.#room : this.#replies;
    message.share = room.shareOf(sender.namespace);
    message.share.add(message.sizeBytes);
  }

  /** It is not written any more. */
  letGo(message: Message): void {
    if (message.payload === undefined) return;
    message.letGo();
    message.share?.letGo(message.sizeBytes);
  }

  /** It has its outcome. */
  delete(message: Message): void {
    this.#deadlines.delete(message);
    this.letGo(message);
    message.share?.remove();
    message.sender.unsettled.delete(message.unsettledKey);
    message.sender.tally?.remove();
  }

  /** Removes and returns those whose time has come. */
  expire(nowMs: number): Message[] {
    return this.#deadlines.expire(nowMs);
  }

  /** A frame was read whose messages come next. */
  frameRead({ buffer }: Uint8Array): void {
    this.#frameBytes += buffer.byteLength;
    if (this.#frameBytes < FRAMES_HELD_BYTES) return;
    this.#frameBytes = 0;
    this.#deadlines.forEach((message) => message.detach());
  }
}
