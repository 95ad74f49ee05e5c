/** Durable messages at their receiver: one of a sender at a time, in order, each handled once. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import { AckKind, type Delivery } from "@nexus/proto/mesh";
import type { Logger } from "@nexus/shared";
import { HandledIds } from "./handled-ids.ts";
import type { Outbox } from "./outbox.ts";
import { TaskError } from "./task-error.ts";

/** Ids of messages that were handled, kept to know them again: what is sent again was sent lately. */
const HANDLED_KEPT = 20_000;
const ACK_WAIT_DEFAULT_MS = 30_000;
/** Several words fit into an `ack_wait`, so that a lost one does no harm. */
const EXTENSIONS_PER_WAIT = 4;
const TICK_MS = 200;
const TEXT_MAX = 512;

/** Nothing here handles the message. */
export class Unhandled extends Error {
  /** True when it never will be. */
  readonly isFinal: boolean;

  constructor(isFinal: boolean) {
    super("This agent has no handler for the message.");
    this.isFinal = isFinal;
  }
}

interface Entry {
  readonly key: string;
  delivery: Delivery;
  /** Which stream it came by. */
  stream: number;
  extendAtMs: number;
}

interface Lane {
  /** Deliveries of a lower one were on their way when a message of this sender failed. */
  generation: number;
  readonly waiting: Entry[];
  running: Entry | undefined;
}

/** What the inbox needs. */
export interface DurableInboxOptions {
  readonly outbox: Outbox;
  readonly logger: Logger;
  /** Handles one message; a throw is a failure. A promise says when it is done, nothing that it is. */
  readonly handle: (delivery: Delivery) => Promise<void> | undefined;
  /** A delivery does not take room any more: its credit can be granted again. */
  readonly onDone: (stream: number) => void;
}

/** Owns the durable deliveries that were taken in and not acknowledged. */
export class DurableInbox {
  readonly #options: DurableInboxOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #handled = new HandledIds(HANDLED_KEPT);
  #timer: NodeJS.Timeout | undefined;
  #entries = 0;

  constructor(options: DurableInboxOptions) {
    this.#options = options;
  }

  /** Takes in a delivery of this stream. */
  take(delivery: Delivery, stream: number): void {
    const { fromPrincipalId, messageId, generation } = delivery;
    const lane = this.#lane(fromPrincipalId);
    if (generation < lane.generation) {
      this.#options.onDone(stream);
      return;
    }
    if (generation > lane.generation) this.#drop(lane);
    lane.generation = generation;
    const key = `${fromPrincipalId}/${messageId}`;
    if (this.#handled.has(key)) {
      this.#say(delivery, AckKind.DONE);
      this.#options.onDone(stream);
    } else if (lane.running?.key === key) this.#replace(lane.running, delivery, stream);
    else {
      lane.waiting.push({ key, delivery, stream, extendAtMs: extendAtMs(delivery) });
      this.#entries += 1;
      this.#arm();
      this.#next(lane);
    }
  }

  /** The stream broke: what was not begun comes again. What runs goes on, and is acknowledged under its next delivery. */
  connectionLost(): void {
    for (const [sender, lane] of this.#lanes) {
      this.#entries -= lane.waiting.length;
      lane.waiting.length = 0;
      lane.generation = 0;
      if (lane.running === undefined) this.#lanes.delete(sender);
    }
  }

  #lane(sender: string): Lane {
    let lane = this.#lanes.get(sender);
    if (lane === undefined) {
      lane = { generation: 0, waiting: [], running: undefined };
      this.#lanes.set(sender, lane);
    }
    return lane;
  }

  #replace(running: Entry, delivery: Delivery, stream: number): void {
    this.#options.onDone(running.stream);
    running.delivery = delivery;
    running.stream = stream;
    running.extendAtMs = extendAtMs(delivery);
  }

  /** What waits was on its way when something before it failed: it comes again. */
  #drop(lane: Lane): void {
    this.#entries -= lane.waiting.length;
    for (const { stream } of lane.waiting.splice(0)) this.#options.onDone(stream);
  }

  /** Begins what waits, one after the other, until one has to be waited for. */
  #next(lane: Lane): void {
    while (lane.running === undefined) {
      const entry = lane.waiting.shift();
      if (entry === undefined) return;
      lane.running = entry;
      const handling = this.#begin(lane, entry);
      if (handling !== undefined) void this.#follow(lane, entry, handling);
    }
  }

  /** Hands a message to its handler; returns what is to be waited for. */
  #begin(lane: Lane, entry: Entry): Promise<void> | undefined {
    try {
      const handling = this.#options.handle(entry.delivery);
      if (handling === undefined) this.#handledWell(entry);
      else return handling;
    } catch (error) {
      this.#failed(lane, entry, error);
    }
    this.#over(lane, entry);
    return undefined;
  }

  async #follow(lane: Lane, entry: Entry, handling: Promise<void>): Promise<void> {
    try {
      await handling;
      this.#handledWell(entry);
    } catch (error) {
      this.#failed(lane, entry, error);
    } finally {
      this.#over(lane, entry);
      this.#next(lane);
    }
  }

  #handledWell(entry: Entry): void {
    this.#handled.add(entry.key);
    this.#say(entry.delivery, AckKind.DONE);
  }

  #over(lane: Lane, entry: Entry): void {
    lane.running = undefined;
    this.#entries -= 1;
    this.#options.onDone(entry.stream);
  }

  #failed(lane: Lane, { delivery }: Entry, error: unknown): void {
    const { subject, messageId, attempt } = delivery;
    const fields = { err: error, subject, message_id: messageId, attempt };
    this.#options.logger.warn(fields, "a durable message could not be handled");
    const text = (error instanceof Error ? error.message : String(error)).slice(0, TEXT_MAX);
    if (isFinal(error)) {
      this.#say(delivery, AckKind.REJECT, text);
      return;
    }
    // The router goes back to this message: what is here, and on its way, comes again under a later generation.
    lane.generation = Math.max(lane.generation, delivery.generation + 1);
    this.#drop(lane);
    this.#say(delivery, AckKind.RETRY, text);
  }

  #say({ deliveryId }: Delivery, kind: AckKind, message = ""): void {
    this.#options.outbox.ack({ deliveryId, kind, message });
  }

  /** Says of everything that waits or runs that it is not forgotten. */
  #arm(): void {
    this.#timer ??= setInterval(() => this.#extend(), TICK_MS).unref();
  }

  #extend(): void {
    if (this.#entries === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      return;
    }
    const nowMs = Date.now();
    for (const { running, waiting } of this.#lanes.values()) {
      for (const entry of running === undefined ? waiting : [running, ...waiting]) {
        if (entry.extendAtMs > nowMs) continue;
        entry.extendAtMs = extendAtMs(entry.delivery);
        this.#say(entry.delivery, AckKind.EXTEND);
      }
    }
  }
}

/** Says whether trying again is pointless. */
function isFinal(error: unknown): boolean {
  if (error instanceof Unhandled) return error.isFinal;
  return error instanceof TaskError && !error.retryable;
}

function extendAtMs({ ackWait }: Delivery): number {
  const waitMs = ackWait === undefined ? ACK_WAIT_DEFAULT_MS : durationMs(ackWait);
  return Date.now() + waitMs / EXTENSIONS_PER_WAIT;
}
