/** Tells publishers what became of messages to many: once the copies are on their way, so that who publishes faster than its receivers take
 * is slowed down before there is no room at one of them. */
import { PUBLISH_WAIT_MS } from "../limits.ts";
import { DeadlineWheel, Expiring } from "./deadline-wheel.ts";
import type { Letter, Verdict } from "./letter.ts";
import type { CopyWatch, Message, Sender, Withdrawable } from "./message.ts";
import type { MessageEngine } from "./message-engine.ts";

interface PublishingInit {
  readonly sender: Sender;
  readonly messageId: string;
  readonly verdict: Verdict;
  readonly expiresAtMs: number;
  readonly onOver: (publishing: Publishing) => void;
}

/** A message to many, copies of which wait for their receivers. */
class Publishing extends Expiring implements Withdrawable, CopyWatch {
  readonly kind = "publishing";
  readonly sender: Sender;
  readonly messageId: string;
  readonly verdict: Verdict;
  readonly expiresAtMs: number;
  readonly #onOver: (publishing: Publishing) => void;
  #waiting = 0;
  over = false;

  constructor(init: PublishingInit) {
    super();
    this.sender = init.sender;
    this.messageId = init.messageId;
    this.verdict = init.verdict;
    this.expiresAtMs = init.expiresAtMs;
    this.#onOver = init.onOver;
  }

  watch(copy: Message): void {
    copy.watch = this;
    this.#waiting += 1;
  }

  passed(): void {
    this.#waiting -= 1;
    if (this.#waiting === 0) this.#onOver(this);
  }

  /** Its copies go on: that it was taken in stays true. */
  cancel(): void {
    this.#onOver(this);
  }
}

/** Owns the outcomes of messages to many that wait for their copies. */
export class PublishDesk {
  readonly #engine: Pick<MessageEngine, "answer">;
  readonly #waiting: DeadlineWheel<Publishing>;

  constructor(engine: Pick<MessageEngine, "answer">, nowMs: number) {
    this.#engine = engine;
    this.#waiting = new DeadlineWheel(nowMs);
  }

  /** Tells the sender, at once when none of the copies is worth waiting for, else when the last of them is on its way; in any case after
   * a moment. */
  answer(
    sender: Sender,
    letter: Letter,
    told: {
      readonly verdict: Verdict;
      readonly copies: readonly Message[];
      readonly nowMs: number;
    },
  ): void {
    const { verdict, nowMs } = told;
    const copies = told.copies.filter((copy) => isWorthWaiting(copy, nowMs));
    if (copies.length === 0) {
      this.#engine.answer(sender, letter, verdict);
      return;
    }
    const { messageId, timeoutMs } = letter;
    const publishing = new Publishing({
      sender,
      messageId,
      verdict,
      expiresAtMs: nowMs + Math.min(timeoutMs, PUBLISH_WAIT_MS),
      onOver: (over) => this.#tell(over),
    });
    for (const copy of copies) publishing.watch(copy);
    sender.unsettled.set(messageId, publishing);
    this.#waiting.add(publishing);
  }

  /** Tells those who have waited long enough. */
  expire(nowMs: number): void {
    for (const publishing of this.#waiting.expire(nowMs)) this.#tell(publishing);
  }

  #tell(publishing: Publishing): void {
    if (publishing.over) return;
    publishing.over = true;
    const { sender, messageId, verdict } = publishing;
    this.#waiting.delete(publishing);
    sender.unsettled.delete(messageId);
    this.#engine.answer(sender, publishing, verdict);
  }
}

/** A receiver that lets messages wait for longer is slow: nobody waits for it. */
function isWorthWaiting({ phase, receiver }: Message, nowMs: number): boolean {
  if (phase !== "queued") return false;
  const [oldest] = receiver.inbox;
  return oldest !== undefined && nowMs - oldest.acceptedAtMs < PUBLISH_WAIT_MS;
}
