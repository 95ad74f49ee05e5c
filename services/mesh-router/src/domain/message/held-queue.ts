/** What one sender has at the gate, in the order that its receivers are to see. */

import { ITEM_OVERHEAD_BYTES } from "../limits.ts";
import { Expiring } from "./deadline-wheel.ts";
import type { Letter } from "./letter.ts";
import type { Sender, Withdrawable } from "./message.ts";
import { requestOf } from "./message-rules.ts";

/** A message that waits until it is known whether a lease holds: its own, or that of one before it. */
export class Held extends Expiring implements Withdrawable {
  readonly kind = "held";
  readonly sender: Sender;
  readonly letter: Letter;
  /** Undefined when it goes to many, or to one that is chosen later. */
  readonly pair: string | undefined;
  /** Names its lease; undefined when it has none. */
  readonly leaseKey: string | undefined;
  readonly expiresAtMs: number;
  readonly sizeBytes: number;
  readonly #onCancel: (held: Held) => void;
  /** True once its own check said yes. */
  isCleared = false;
  /** True once it went on, or has its outcome. */
  isOver = false;
  /** Where it stands in its queue. */
  line: Set<Held> | undefined;

  constructor(init: {
    readonly sender: Sender;
    readonly letter: Letter;
    readonly leaseKey: string | undefined;
    readonly nowMs: number;
    readonly onCancel: (held: Held) => void;
  }) {
    super();
    const { sender, letter } = init;
    this.sender = sender;
    this.letter = letter;
    this.pair = pairOf(sender, letter);
    this.leaseKey = init.leaseKey;
    this.expiresAtMs = init.nowMs + letter.timeoutMs;
    this.sizeBytes = letter.payload.byteLength + ITEM_OVERHEAD_BYTES;
    this.#onCancel = init.onCancel;
  }

  cancel(): void {
    this.#onCancel(this);
  }
}

/** Messages of one pair stay in order. One to many waits behind all that are there, and all that come wait behind it: whom it goes to
 * is known only then. */
export class HeldQueue {
  readonly #lanes = new Map<string, Set<Held>>();
  /** From the first that has to wait for all lanes. */
  readonly #rest = new Set<Held>();

  get isEmpty(): boolean {
    return this.#lanes.size === 0 && this.#rest.size === 0;
  }

  /** Says whether a message has to wait for others. */
  blocks(sender: Sender, letter: Letter): boolean {
    if (this.isEmpty) return false;
    const pair = pairOf(sender, letter);
    return this.#rest.size > 0 || this.#waitsForAll(pair) || this.#lanes.has(pair ?? MANY);
  }

  add(held: Held): void {
    if (this.#rest.size > 0 || this.#waitsForAll(held.pair)) {
      this.#rest.add(held);
      held.line = this.#rest;
    } else this.#addToLane(held);
  }

  /** Takes a message out, wherever it stands. */
  remove(held: Held): void {
    const { line } = held;
    line?.delete(held);
    held.line = undefined;
    if (line !== this.#rest && line?.size === 0) this.#lanes.delete(held.pair ?? MANY);
  }

  /** Passes on what stood behind this one, as far as `tryPass` takes it out. */
  advance(held: Held, tryPass: TryPass): void {
    advanceLane(this.#lanes.get(held.pair ?? MANY), tryPass);
    for (const next of this.#rest) {
      if (this.#waitsForAll(next.pair)) return;
      this.#rest.delete(next);
      if (this.#addToLane(next).size === 1) advanceLane(next.line, tryPass);
    }
  }

  *[Symbol.iterator](): Iterator<Held> {
    for (const lane of this.#lanes.values()) yield* lane;
    yield* this.#rest;
  }

  #waitsForAll(pair: string | undefined): boolean {
    return pair === undefined ? this.#lanes.size > 0 : this.#lanes.has(MANY);
  }

  #addToLane(held: Held): Set<Held> {
    const key = held.pair ?? MANY;
    const lane = this.#lanes.get(key) ?? new Set();
    this.#lanes.set(key, lane);
    lane.add(held);
    held.line = lane;
    return lane;
  }
}

/** Takes a message out of its queue when it is decided; says whether it did. */
type TryPass = (held: Held) => boolean;

/** No pair is named so. */
const MANY = "*";

function advanceLane(lane: Set<Held> | undefined, tryPass: TryPass): void {
  for (const held of lane ?? []) if (!tryPass(held)) return;
}

/** Names the receiver whose order a message keeps; undefined when that is known later. Durable messages and others have none in common. */
function pairOf(sender: Sender, letter: Letter): string | undefined {
  const { mail, target, toAgentId, inReplyTo } = letter;
  if (target !== undefined) return undefined;
  const asker = inReplyTo === "" ? undefined : requestOf(sender, letter)?.sender.principalId;
  return `${mail === undefined ? "" : "mail "}to ${asker ?? toAgentId}`;
}
