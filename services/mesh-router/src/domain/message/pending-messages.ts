/** Messages without an outcome: their deadlines, and what they hold of memory. */
import {
  FRAMES_HELD_BYTES,
  PENDING_BYTES_MAX,
  PENDING_MESSAGES_MAX,
  PENDING_PER_SENDER_MAX,
} from "../limits.ts";
import { DeadlineWheel } from "./deadline-wheel.ts";
import type { Letter } from "./letter.ts";
import type { Message, Sender } from "./message.ts";

/** Counts the messages of a replica and their bytes.
 *
 * A message shows parts of the frame that it came in, which most have left before the next frame is read: to copy each would cost more than all
 * else. What stays longer is copied out after so many bytes of frames, so no more than that is held without being counted. */
export class PendingMessages {
  readonly #deadlines: DeadlineWheel<Message>;
  #bytes = 0;
  #frameBytes = 0;

  constructor(nowMs: number) {
    this.#deadlines = new DeadlineWheel(nowMs);
  }

  get size(): number {
    return this.#deadlines.size;
  }

  /** Says whether there is no room for what a sender sends. */
  isFull(sender: Sender, { payload }: Letter): boolean {
    return (
      this.#deadlines.size >= PENDING_MESSAGES_MAX ||
      this.#bytes + payload.byteLength > PENDING_BYTES_MAX ||
      sender.unsettled.size >= PENDING_PER_SENDER_MAX
    );
  }

  add(message: Message): void {
    message.sender.unsettled.set(message.unsettledKey, message);
    this.#deadlines.add(message);
    this.#bytes += message.sizeBytes;
  }

  /** It is not written any more. */
  letGo(message: Message): void {
    if (message.payload === undefined) return;
    message.letGo();
    this.#bytes -= message.sizeBytes;
  }

  /** It has its outcome. */
  delete(message: Message): void {
    this.#deadlines.delete(message);
    this.letGo(message);
    message.sender.unsettled.delete(message.unsettledKey);
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
