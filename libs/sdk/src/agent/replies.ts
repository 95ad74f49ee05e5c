/** What an agent answers: whole replies are sent again while their askers wait, and whoever gets none is told so. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import { AckKind, DeliveryOutcome, type SendOutcome } from "@nexus/proto/mesh";
import { createIds, type Logger, MiB, NexusError, PassingMap } from "@nexus/shared";
import { toPayload } from "../payload.ts";
import type { Outbox, SendInit } from "./outbox.ts";
import { type Asked, ReplyParts } from "./reply-parts.ts";
import { TaskError } from "./task-error.ts";

/** Replies that are kept until their outcome, and their bytes; what comes beyond is sent once. */
export const REPLIES_KEPT_MAX = 4_096;
const KEPT_BYTES_MAX = 8 * MiB;
/** Requests that were declined last: a stream that breaks may take the word along, so the next one brings it again. */
const DECLINED_KEPT_MAX = 1_024;
const RETRY_DEFAULT_MS = 100;
const RETRY_MAX_MS = 1_000;
const MESSAGE_MAX = 512;

/** Why a request is not answered. */
export interface Refusal {
  readonly reason: string;
  readonly message: string;
}

/** A reply without an outcome. */
interface Kept {
  readonly send: SendInit;
  readonly bytes: number;
  readonly deadlineAtMs: number;
  /** How often it was given to a stream. */
  tries: number;
  again: NodeJS.Timeout | undefined;
}

/** Owns the replies that have no outcome yet. */
export class Replies {
  readonly #outbox: Outbox;
  readonly #logger: Logger;
  readonly #ids = createIds();
  readonly #parts: ReplyParts;
  readonly #kept = new PassingMap<string, Kept>();
  #keptBytes = 0;
  readonly #declined = new Map<string, { readonly why: Refusal; readonly deadlineAtMs: number }>();
  #connected = false;

  constructor(outbox: Outbox, logger: Logger) {
    this.#outbox = outbox;
    this.#logger = logger;
    this.#parts = new ReplyParts(outbox, this.#ids, (asked) => this.decline(asked, CUT));
  }

  /** Answers a request with what its handler made of it.
   *
   * Errors: what an iterable throws; what cannot be a payload. */
  async answer(asked: Asked, result: unknown, signal: AbortSignal): Promise<void> {
    if (isAsyncIterable(result)) {
      const last = await this.#parts.send(asked, result, signal);
      if (last !== undefined) this.#whole(asked, last.body);
    } else if (!signal.aborted) this.#whole(asked, result);
  }

  /** Tells whoever asked that no reply comes, or no further part of it. */
  decline({ deliveryId, deadlineAtMs }: Asked, why: Refusal): void {
    const [oldest] = this.#declined.keys();
    if (this.#declined.size >= DECLINED_KEPT_MAX && oldest !== undefined) {
      this.#declined.delete(oldest);
    }
    this.#declined.set(deliveryId, { why, deadlineAtMs });
    if (this.#connected) this.#sayNo(deliveryId, why);
  }

  /** Takes in the router's word on a reply. */
  settle(outcome: SendOutcome): void {
    const kept = this.#kept.get(outcome.messageId);
    if (kept === undefined) this.#parts.settle(outcome);
    else if (outcome.outcome === DeliveryOutcome.DELIVERED) this.#forget(outcome.messageId, kept);
    else this.#notTaken(kept, outcome);
  }

  /** A stream is open: what has no outcome is sent again, parts if the router holds what the last one brought. */
  connected(held: boolean): void {
    this.#connected = true;
    this.#parts.connected(held);
    const nowMs = Date.now();
    for (const [deliveryId, { why, deadlineAtMs }] of this.#declined) {
      if (deadlineAtMs > nowMs) this.#sayNo(deliveryId, why);
      else this.#declined.delete(deliveryId);
    }
    for (const [messageId, kept] of this.#kept.entries()) {
      if (kept.deadlineAtMs > nowMs) this.#give(kept);
      else this.#forget(messageId, kept);
    }
  }

  /** The stream is over. Unless it ended in order (`isComplete`), what was sent may or may not have arrived. */
  connectionLost(isComplete: boolean): void {
    this.#connected = false;
    for (const kept of this.#kept.values()) clearTimeout(kept.again);
    this.#parts.connectionLost(isComplete);
  }

  /** There will be no other stream. */
  close(): void {
    this.connectionLost(false);
    this.#parts.close();
    this.#kept.clear();
    this.#keptBytes = 0;
    this.#declined.clear();
  }

  #whole({ deliveryId, deadlineAtMs }: Asked, body: unknown): void {
    const messageId = this.#ids.next("msg");
    const payload = toPayload(body);
    const bytes = payload.data?.byteLength ?? 0;
    const kept: Kept = {
      send: { messageId, inReplyTo: deliveryId, payload },
      bytes,
      deadlineAtMs,
      tries: 0,
      again: undefined,
    };
    const isRoom = this.#hasRoom(bytes);
    if (isRoom) {
      this.#kept.set(messageId, kept);
      this.#keptBytes += bytes;
    }
    // Without a stream what is kept waits for the next one.
    if (this.#connected || !isRoom) this.#give(kept);
  }

  /** What had no word in its time, which a router may owe it, makes room. */
  #hasRoom(bytes: number): boolean {
    const fits = (): boolean =>
      this.#kept.size < REPLIES_KEPT_MAX && this.#keptBytes + bytes <= KEPT_BYTES_MAX;
    if (fits()) return true;
    const nowMs = Date.now();
    for (const [messageId, kept] of this.#kept.entries()) {
      if (kept.deadlineAtMs <= nowMs) this.#forget(messageId, kept);
    }
    return fits();
  }

  #give(kept: Kept): void {
    kept.tries += 1;
    this.#outbox.send(kept.send);
  }

  #sayNo(deliveryId: string, why: Refusal): void {
    this.#outbox.ack({ deliveryId, kind: AckKind.REJECT, ...why });
  }

  /** There was no room for it, an earlier stream brought it, or nobody waits. */
  #notTaken(kept: Kept, outcome: SendOutcome): void {
    const { messageId, reason, message } = outcome;
    // The outcome of the first is to come.
    if (kept.tries > 1 && reason === "MESSAGE_ID_PENDING") return;
    const waitMs = pauseMs(outcome, kept.tries);
    if (waitMs !== undefined && Date.now() + waitMs < kept.deadlineAtMs) {
      kept.again = setTimeout(() => this.#give(kept), waitMs).unref();
      return;
    }
    this.#forget(messageId, kept);
    // The first one came through, or nobody waits any more: that is in order.
    if (reason === "NOT_AWAITED") return;
    this.#logger.warn({ reason, outcome: message }, "a reply did not reach its asker");
  }

  #forget(messageId: string, kept: Kept): void {
    clearTimeout(kept.again);
    if (this.#kept.delete(messageId)) this.#keptBytes -= kept.bytes;
  }
}

const CUT: Refusal = { reason: "REPLY_CUT", message: "" };

/** What whoever asks for what nothing here handles is told. */
export const NO_HANDLER: Refusal = { reason: "NO_HANDLER", message: "" };

/** What whoever asked is told of a handler's error: its word, and the text of one that is meant to be read; any other may hold secrets. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof TaskError) {
    return { reason: error.reason, message: error.message.slice(0, MESSAGE_MAX) };
  }
  return { reason: error instanceof NexusError ? error.reason : "", message: "" };
}

/** How long to wait before a reply is sent again; undefined when that is pointless. */
function pauseMs({ outcome, retryAfter }: SendOutcome, tries: number): number | undefined {
  if (outcome !== DeliveryOutcome.OVERLOADED) return undefined;
  const firstMs = retryAfter === undefined ? RETRY_DEFAULT_MS : durationMs(retryAfter);
  return Math.max(firstMs, Math.min(firstMs * tries, RETRY_MAX_MS));
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}
