/** What was published and waits for one who watches topics. */
import {
  FRAME_BYTES_MAX,
  FRAME_ITEMS_MAX,
  ITEM_OVERHEAD_BYTES,
  TAIL_BYTES_MAX,
  WATCH_BUFFER_MAX,
} from "../limits.ts";
import type { Room, Share } from "../message/room.ts";
import type { Published } from "./topic-book.ts";

/** What a watcher is told at once. */
export interface Heard {
  readonly messages: readonly Published[];
  /** How many were left out before them. */
  readonly missed: number;
}

interface Waiting {
  readonly published: Published;
  readonly bytes: number;
  readonly missedBefore: number;
}

/** Owns what waits for one watcher. Bounded, by itself and together with all others: what finds no room is counted. */
export class Tail {
  readonly #namespace: string;
  readonly #room: Room;
  readonly #waiting: Waiting[] = [];
  #bytes = 0;
  #missed = 0;
  #over = false;
  #wake: (() => void) | undefined;

  constructor(namespace: string, room: Room) {
    this.#namespace = namespace;
    this.#room = room;
  }

  push(published: Published): void {
    if (this.#over) return;
    const bytes = published.payload.byteLength + ITEM_OVERHEAD_BYTES;
    if (this.#fits(bytes)) {
      this.#share.add(bytes);
      this.#bytes += bytes;
      this.#waiting.push({ published, bytes, missedBefore: this.#missed });
      this.#missed = 0;
    } else this.#missed += 1;
    this.#wake?.();
  }

  /** Some did not come here: at least one. */
  miss(): void {
    this.#missed += 1;
    this.#wake?.();
  }

  /** Nobody reads any more. */
  end(): void {
    this.#over = true;
    for (const { bytes } of this.#waiting.splice(0)) this.#share.drop(bytes);
    this.#wake?.();
  }

  /** Resolves with false at the end. */
  async wait(): Promise<boolean> {
    if (this.#waiting.length === 0 && this.#missed === 0 && !this.#over) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    return !this.#over;
  }

  /** Takes what fits into one answer, up to where messages were left out. */
  take(): Heard {
    const messages: Published[] = [];
    const missed = this.#waiting[0]?.missedBefore ?? this.#takeMissed();
    let taken = 0;
    for (const { published, bytes, missedBefore } of this.#waiting) {
      const isFull = messages.length >= FRAME_ITEMS_MAX || taken + bytes > FRAME_BYTES_MAX;
      if (messages.length > 0 && (isFull || missedBefore > 0)) break;
      messages.push(published);
      taken += bytes;
      this.#share.drop(bytes);
    }
    this.#waiting.splice(0, messages.length);
    this.#bytes -= taken;
    return { messages, missed };
  }

  #fits(bytes: number): boolean {
    const isOwn = this.#waiting.length < WATCH_BUFFER_MAX && this.#bytes + bytes <= TAIL_BYTES_MAX;
    return isOwn && this.#room.fits(this.#namespace, bytes);
  }

  #takeMissed(): number {
    const missed = this.#missed;
    this.#missed = 0;
    return missed;
  }

  get #share(): Share {
    return this.#room.shareOf(this.#namespace);
  }
}
