/** What waits for one agent to read, joined into frames. */
import type { CarriedAssignment, CarriedCancel, CarriedResult } from "./carried.ts";
import { Fifo } from "./fifo.ts";
import {
  FRAME_BYTES_MAX,
  FRAME_ITEMS_MAX,
  ITEM_OVERHEAD_BYTES,
  OUTBOX_BYTES_MAX,
  OUTBOX_ITEMS_MAX,
} from "./limits.ts";
import type { Message, SendResult } from "./message.ts";

/** The notice that the router is about to stop. */
export interface DrainNotice {
  readonly reason: string;
  readonly reconnectWithinMs: number;
}

/** The content of one frame to an agent. */
export interface AgentBatch {
  readonly assignments: CarriedAssignment[];
  readonly cancels: CarriedCancel[];
  readonly results: CarriedResult[];
  readonly deliveries: Message[];
  readonly outcomes: SendResult[];
  drain: DrainNotice | undefined;
}

interface Sized<T> {
  readonly item: T;
  readonly sizeBytes: number;
}

/** A bounded queue of items of all kinds. It never drops: a full one says so, and its owner ends the stream.
 *
 * Order holds within a kind. A cancel takes its own assignment out, so it never arrives before it. */
export class Outbox {
  readonly #assignments = new Fifo<Sized<CarriedAssignment>>();
  readonly #cancels = new Fifo<CarriedCancel>();
  readonly #results = new Fifo<CarriedResult>();
  readonly #deliveries = new Fifo<Message>();
  readonly #outcomes = new Fifo<SendResult>();
  #drain: DrainNotice | undefined;
  #deliveryBytes = 0;
  #assignmentBytes = 0;

  /** Items that wait. */
  get items(): number {
    return (
      this.#assignments.length +
      this.#cancels.length +
      this.#results.length +
      this.#deliveries.length +
      this.#outcomes.length +
      (this.#drain === undefined ? 0 : 1)
    );
  }

  /** Bytes of deliveries that wait. */
  get deliveryBytes(): number {
    return this.#deliveryBytes;
  }

  /** True when no further item fits. */
  get full(): boolean {
    return this.items >= OUTBOX_ITEMS_MAX;
  }

  /** Adds an assignment; false when there is no room for it. */
  pushAssignment(item: CarriedAssignment, sizeBytes: number): boolean {
    if (this.full) return false;
    if (this.#assignmentBytes > 0 && this.#assignmentBytes + sizeBytes > OUTBOX_BYTES_MAX) {
      return false;
    }
    this.#assignments.push({ item, sizeBytes });
    this.#assignmentBytes += sizeBytes;
    return true;
  }

  /** Adds a cancel, or takes out the assignment that it cancels; false when there is no room. */
  pushCancel(item: CarriedCancel): boolean {
    if (this.#assignments.length > 0 && this.#withdraw(item)) return true;
    return this.#push(this.#cancels, item);
  }

  pushResult(item: CarriedResult): boolean {
    return this.#push(this.#results, item);
  }

  pushOutcome(item: SendResult): boolean {
    return this.#push(this.#outcomes, item);
  }

  pushDelivery(item: Message): boolean {
    if (!this.#push(this.#deliveries, item)) return false;
    this.#deliveryBytes += item.sizeBytes;
    return true;
  }

  setDrain(notice: DrainNotice): void {
    this.#drain = notice;
  }

  /** Takes the next frame; undefined when nothing waits. Small items first: they free the agent's own memory. */
  take(): AgentBatch | undefined {
    if (this.items === 0) return undefined;
    const batch: AgentBatch = {
      assignments: [],
      cancels: moveSome(this.#cancels),
      results: moveSome(this.#results),
      deliveries: [],
      outcomes: moveSome(this.#outcomes),
      drain: this.#drain,
    };
    this.#drain = undefined;
    this.#takeDeliveries(batch, this.#takeAssignments(batch));
    return batch;
  }

  /** Takes out every assignment that was never written. */
  takeBackAssignments(): CarriedAssignment[] {
    this.#assignmentBytes = 0;
    return this.#assignments.remove(() => true).map(({ item }) => item);
  }

  /** Takes out every delivery that was never written. */
  takeBackDeliveries(): Message[] {
    this.#deliveryBytes = 0;
    return this.#deliveries.remove(() => true);
  }

  /** Forgets everything. */
  clear(): void {
    this.takeBackAssignments();
    this.takeBackDeliveries();
    for (const queue of [this.#cancels, this.#results, this.#outcomes]) queue.remove(() => true);
    this.#drain = undefined;
  }

  #push<T>(queue: Fifo<T>, item: T): boolean {
    if (this.full) return false;
    queue.push(item);
    return true;
  }

  #withdraw(cancel: CarriedCancel): boolean {
    const removed = this.#assignments.remove(
      ({ item }) => item.taskId === cancel.taskId && item.fence === cancel.fence,
    );
    for (const { sizeBytes } of removed) this.#assignmentBytes -= sizeBytes;
    return removed.length > 0;
  }

  #takeAssignments(batch: AgentBatch): number {
    let bytes = 0;
    for (let next = this.#assignments.peek(); next !== undefined; next = this.#assignments.peek()) {
      if (batch.assignments.length >= FRAME_ITEMS_MAX) break;
      if (bytes > 0 && bytes + next.sizeBytes > FRAME_BYTES_MAX) break;
      this.#assignments.shift();
      this.#assignmentBytes -= next.sizeBytes;
      bytes += next.sizeBytes;
      batch.assignments.push(next.item);
    }
    return bytes;
  }

  /** A message that expired while it waited has its outcome already and is left out. */
  #takeDeliveries(batch: AgentBatch, usedBytes: number): void {
    let bytes = usedBytes;
    for (let next = this.#deliveries.peek(); next !== undefined; next = this.#deliveries.peek()) {
      if (batch.deliveries.length >= FRAME_ITEMS_MAX) break;
      if (bytes > 0 && bytes + next.sizeBytes > FRAME_BYTES_MAX) break;
      this.#deliveries.shift();
      this.#deliveryBytes -= next.sizeBytes;
      if (next.phase !== "sent") continue;
      bytes += next.sizeBytes;
      batch.deliveries.push(next);
    }
  }
}

function moveSome<T extends object>(queue: Fifo<T>): T[] {
  const moved: T[] = [];
  while (moved.length < FRAME_ITEMS_MAX) {
    const item = queue.shift();
    if (item === undefined) break;
    moved.push(item);
  }
  return moved;
}

/** Estimates what a payload costs on the wire and in memory. */
export function payloadBytes(payload: { readonly data: Uint8Array } | undefined): number {
  return (payload?.data.byteLength ?? 0) + ITEM_OVERHEAD_BYTES;
}
