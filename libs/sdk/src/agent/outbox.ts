import type {
  AckSchema,
  ConnectRequestSchema,
  CreditSchema,
  HeartbeatSchema,
  SendSchema,
  TaskUpdateSchema,
} from "@nexus/proto/mesh";
import type { MessageInit } from "../message-init.ts";

/** A frame to the router. */
export type Frame = MessageInit<typeof ConnectRequestSchema>;
/** A word about a lease. */
export type UpdateInit = MessageInit<typeof TaskUpdateSchema>;
/** A message to send. */
export type SendInit = MessageInit<typeof SendSchema>;
type AckInit = MessageInit<typeof AckSchema>;
type CreditInit = MessageInit<typeof CreditSchema>;
type HeartbeatInit = MessageInit<typeof HeartbeatSchema>;

const FRAME_ITEMS_MAX = 512;
/** Keeps a frame well below the 4 MiB of a gRPC message, whatever the size of the outputs in it. */
const FRAME_BYTES_MAX = 1024 * 1024;
const ITEM_OVERHEAD_BYTES = 128;

/** Gathers what an agent has to say and cuts it into frames, at the speed at which the stream takes them.
 *
 * Bounded by its callers: leases, unanswered messages and credit all have limits of their own. */
export class Outbox {
  #updates: UpdateInit[] = [];
  #sends: SendInit[] = [];
  #acks: AckInit[] = [];
  #heartbeat: HeartbeatInit | undefined;
  #credit: CreditInit | undefined;
  #accessToken: string | undefined;
  #goodbye: string | undefined;
  #wake: (() => void) | undefined;
  /** Counts streams: frames of an older one must not reach a newer one. */
  #generation = 0;
  #closing = false;

  update(update: UpdateInit): void {
    this.#updates.push(update);
    this.#changed();
  }

  send(message: SendInit): void {
    this.#sends.push(message);
    this.#changed();
  }

  ack(ack: AckInit): void {
    this.#acks.push(ack);
    this.#changed();
  }

  heartbeat(heartbeat: HeartbeatInit): void {
    this.#heartbeat = heartbeat;
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
        yield this.#takeFrame();
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
    this.#updates = [];
    this.#sends = [];
    this.#acks = [];
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
    return this.#updates.length + this.#sends.length + this.#acks.length > 0;
  }

  #hasWork(): boolean {
    const single = this.#heartbeat ?? this.#credit ?? this.#accessToken ?? this.#goodbye;
    return this.#hasItems() || single !== undefined;
  }

  #takeFrame(): Frame {
    const frame: Frame = {
      taskUpdates: takeBytes(this.#updates, updateBytes),
      sends: takeBytes(this.#sends, (send) => send.payload?.data?.byteLength ?? 0),
      acks: this.#acks.splice(0, FRAME_ITEMS_MAX),
    };
    if (this.#heartbeat !== undefined) frame.heartbeat = this.#heartbeat;
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

function updateBytes(update: UpdateInit): number {
  const word = update.update;
  if (word?.case === "completed") return word.value.output?.data?.byteLength ?? 0;
  if (word?.case === "chunk") return word.value.data?.byteLength ?? 0;
  return 0;
}
