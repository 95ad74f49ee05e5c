/** What waits for one agent to read, joined into frames. */

import { detachFromFrame } from "@nexus/shared";
import { Fifo } from "../fifo.ts";
import {
  FRAME_BYTES_MAX,
  FRAME_ITEMS_SENT,
  ITEM_OVERHEAD_BYTES,
  OUTBOX_BYTES_MAX,
  OUTBOX_ITEMS_MAX,
} from "../limits.ts";
import type { CarriedLease, CarriedOrder } from "./carried.ts";
import type { SendResult } from "./letter.ts";
import type { Deliverable } from "./message.ts";

/** The notice that the router is about to stop. */
export interface DrainNotice {
  readonly reason: string;
  readonly reconnectWithinMs: number;
}

/** A word to an agent that is rare: the answer to a subscription, or that nobody waits for a reply any more. */
export type Note =
  | {
      readonly kind: "subscription";
      readonly pattern: string;
      readonly group: string;
      /** Empty when it holds. */
      readonly reason: string;
    }
  | { readonly kind: "cancel"; readonly deliveryId: string };

/** The content of one frame to an agent. */
export interface AgentBatch {
  readonly assignments: CarriedOrder[];
  readonly cancels: CarriedOrder[];
  /** Encoded results. */
  readonly results: Uint8Array[];
  readonly deliveries: Deliverable[];
  /** Deliveries that were not due any more: their credit was not used. */
  leftOut: number;
  readonly outcomes: SendResult[];
  readonly notes: Note[];
  drain: DrainNotice | undefined;
}

/** A bounded queue of items of all kinds. It never drops: a full one says so, and its owner ends the stream.
 *
 * Order holds within a kind. A cancel takes its own assignment out, so it never arrives before it. */
export class Outbox {
  readonly #assignments = new Fifo<CarriedOrder>();
  readonly #cancels = new Fifo<CarriedOrder>();
  readonly #results = new Fifo<Uint8Array>();
  readonly #deliveries = new Fifo<Deliverable>();
  readonly #outcomes = new Fifo<SendResult>();
  readonly #notes = new Fifo<Note>();
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
      this.#notes.length +
      (this.#drain === undefined ? 0 : 1)
    );
  }

  /** Bytes of deliveries that wait. */
  get deliveryBytes(): number {
    return this.#deliveryBytes;
  }

  /** Bytes of assignments that wait. */
  get assignmentBytes(): number {
    return this.#assignmentBytes;
  }

  /** True when no further item fits. */
  get full(): boolean {
    return this.items >= OUTBOX_ITEMS_MAX;
  }

  /** Adds an assignment; false when there is no room for it. */
  pushAssignment(item: CarriedOrder): boolean {
    const sizeBytes = sizeOf(item);
    if (this.full) return false;
    if (this.#assignmentBytes > 0 && this.#assignmentBytes + sizeBytes > OUTBOX_BYTES_MAX) {
      return false;
    }
    if (this.#assignments.length >= FRAME_ITEMS_SENT) item.bytes = detachFromFrame(item.bytes);
    this.#assignments.push(item);
    this.#assignmentBytes += sizeBytes;
    return true;
  }

  /** Adds a cancel, or takes out the assignment that it cancels; false when there is no room. */
  pushCancel(item: CarriedOrder): boolean {
    if (this.#assignments.length > 0 && this.#withdraw(item)) return true;
    return this.#push(this.#cancels, item);
  }

  pushResult(item: Uint8Array): boolean {
    return this.#push(this.#results, item);
  }

  pushOutcome(item: SendResult): boolean {
    return this.#push(this.#outcomes, item);
  }

  pushNote(item: Note): boolean {
    return this.#push(this.#notes, item);
  }

  pushDelivery(item: Deliverable): boolean {
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
      leftOut: 0,
      outcomes: moveSome(this.#outcomes),
      notes: moveSome(this.#notes),
      drain: this.#drain,
    };
    this.#drain = undefined;
    this.#takeDeliveries(batch, this.#takeAssignments(batch));
    return batch;
  }

  /** Takes out every assignment that was never written. */
  takeBackAssignments(): CarriedOrder[] {
    this.#assignmentBytes = 0;
    return this.#assignments.remove(() => true);
  }

  /** Takes out every delivery that was never written. */
  takeBackDeliveries(): Deliverable[] {
    this.#deliveryBytes = 0;
    return this.#deliveries.remove(() => true);
  }

  /** Forgets everything. */
  clear(): void {
    this.takeBackAssignments();
    this.takeBackDeliveries();
    const queues = [this.#cancels, this.#results, this.#outcomes, this.#notes];
    for (const queue of queues) queue.remove(() => true);
    this.#drain = undefined;
  }

  #push<T>(queue: Fifo<T>, item: T): boolean {
    if (this.full) return false;
    queue.push(item);
    return true;
  }

  #withdraw({ taskId, fence }: CarriedLease): boolean {
    const removed = this.#assignments.remove(
      (item) => item.taskId === taskId && item.fence === fence,
    );
    for (const item of removed) this.#assignmentBytes -= sizeOf(item);
    return removed.length > 0;
  }

  #takeAssignments(batch: AgentBatch): number {
    let bytes = 0;
    for (let next = this.#assignments.peek(); next !== undefined; next = this.#assignments.peek()) {
      if (batch.assignments.length >= FRAME_ITEMS_SENT) break;
      const sizeBytes = sizeOf(next);
      if (bytes > 0 && bytes + sizeBytes > FRAME_BYTES_MAX) break;
      this.#assignments.shift();
      this.#assignmentBytes -= sizeBytes;
      bytes += sizeBytes;
      batch.assignments.push(next);
    }
    return bytes;
  }

  /** A message that expired while it waited has its outcome already and is left out. */
  #takeDeliveries(batch: AgentBatch, usedBytes: number): void {
    let bytes = usedBytes;
    for (let next = this.#deliveries.peek(); next !== undefined; next = this.#deliveries.peek()) {
      if (batch.deliveries.length >= FRAME_ITEMS_SENT) break;
      if (bytes > 0 && bytes + next.sizeBytes > FRAME_BYTES_MAX) break;
      this.#deliveries.shift();
      this.#deliveryBytes -= next.sizeBytes;
      if (!next.isDue) {
        batch.leftOut += 1;
        continue;
      }
      bytes += next.sizeBytes;
      batch.deliveries.push(next);
    }
  }
}

function moveSome<T extends object>(queue: Fifo<T>): T[] {
  const moved: T[] = [];
  while (moved.length < FRAME_ITEMS_SENT) {
    const item = queue.shift();
    if (item === undefined) break;
    moved.push(item);
  }
  return moved;
}

/** What a carried item costs on the wire and in memory. */
export function sizeOf({ bytes }: { readonly bytes: Uint8Array }): number {
  return bytes.byteLength + ITEM_OVERHEAD_BYTES;
}
