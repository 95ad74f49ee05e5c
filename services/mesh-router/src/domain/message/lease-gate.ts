/** Messages that are sent under a lease go on only while it holds. */
import type { Clock } from "@nexus/shared";
import {
  HELD_BYTES_MAX,
  HELD_PER_SENDER_MAX,
  ITEM_OVERHEAD_BYTES,
  LEASES_KNOWN_MAX,
} from "../limits.ts";
import type { Session } from "../session/session.ts";
import { detachLetter } from "./carried.ts";
import type { LeaseRef, Letter, Verdict } from "./letter.ts";

/** What an agent says of itself: I hold this lease. */
export interface LeaseClaim extends LeaseRef {
  readonly namespace: string;
  readonly agentId: string;
}

/** Whether a claim is true. */
export interface LeaseAnswer {
  readonly valid: boolean;
  /** Why not. */
  readonly reason: string;
  /** How long the answer may be kept. */
  readonly cacheForMs: number;
}

/** Asks whether leases hold. Calls of one moment share a request. */
export interface LeasePort {
  check(claim: LeaseClaim): Promise<LeaseAnswer>;
}

interface KnownAnswer extends LeaseAnswer {
  readonly untilMs: number;
}

/** What the gate is made from. */
export interface LeaseGateInit {
  readonly leases: LeasePort;
  readonly clock: Clock;
  /** Takes messages on whose lease holds, or that have none. */
  readonly proceed: (sender: Session, letter: Letter) => void;
  /** Answers those that end here. */
  readonly refuse: (sender: Session, letter: Letter, verdict: Verdict) => void;
}

/** Lets messages through in the order in which they came: while one waits for an answer, its sender's later ones wait behind it. */
export class LeaseGate {
  readonly #init: LeaseGateInit;
  readonly #known = new Map<string, KnownAnswer>();
  readonly #held = new Map<Session, Letter[]>();
  #heldBytes = 0;

  constructor(init: LeaseGateInit) {
    this.#init = init;
  }

  /** Takes a message of an agent. */
  send(sender: Session, letter: Letter): void {
    const held = this.#held.get(sender);
    if (held === undefined && this.#tryPass(sender, letter)) return;
    const sizeBytes = sizeOf(letter);
    const isLong = held !== undefined && held.length >= HELD_PER_SENDER_MAX;
    if (isLong || this.#heldBytes + sizeBytes > HELD_BYTES_MAX) {
      this.#init.refuse(sender, letter, FULL);
      return;
    }
    const kept = detachLetter(letter);
    this.#heldBytes += sizeBytes;
    if (held !== undefined) held.push(kept);
    else {
      this.#held.set(sender, [kept]);
      void this.#ask(sender, kept);
    }
  }

  /** True when it was decided at once. */
  #tryPass(sender: Session, letter: Letter): boolean {
    if (letter.lease === undefined) {
      this.#init.proceed(sender, letter);
      return true;
    }
    const key = keyOf(sender, letter.lease);
    const answer = this.#known.get(key);
    if (answer === undefined || answer.untilMs <= this.#init.clock.nowMs()) return false;
    this.#decide(sender, letter, answer);
    return true;
  }

  async #ask(sender: Session, letter: Letter): Promise<void> {
    const lease = letter.lease as LeaseRef;
    const answer = await this.#check(sender, lease);
    const held = this.#held.get(sender) ?? [];
    this.#letGo(held);
    if (answer.cacheForMs > 0) this.#remember(keyOf(sender, lease), answer);
    this.#decide(sender, letter, answer);
    for (let next = held[0]; next !== undefined; next = held[0]) {
      if (!this.#tryPass(sender, next)) {
        void this.#ask(sender, next);
        return;
      }
      this.#letGo(held);
    }
    this.#held.delete(sender);
  }

  #letGo(held: Letter[]): void {
    const letter = held.shift();
    if (letter !== undefined) this.#heldBytes -= sizeOf(letter);
  }

  /** Who cannot ask must refuse. */
  async #check(sender: Session, lease: LeaseRef): Promise<LeaseAnswer> {
    const { namespace, agentId } = sender;
    try {
      return await this.#init.leases.check({ ...lease, namespace, agentId });
    } catch {
      return { valid: false, reason: "LEASE_UNCHECKED", cacheForMs: 0 };
    }
  }

  #decide(sender: Session, letter: Letter, { valid, reason }: LeaseAnswer): void {
    if (valid) this.#init.proceed(sender, letter);
    else {
      const text = "the lease that it was sent under does not hold";
      this.#init.refuse(sender, letter, { outcome: "refused", reason, text });
    }
  }

  #remember(key: string, answer: LeaseAnswer): void {
    const [oldest] = this.#known.keys();
    if (this.#known.size >= LEASES_KNOWN_MAX && oldest !== undefined) this.#known.delete(oldest);
    const untilMs = this.#init.clock.nowMs() + answer.cacheForMs;
    this.#known.set(key, { ...answer, untilMs });
  }
}

const FULL: Verdict = {
  outcome: "overloaded",
  text: "too many messages wait for the check of a lease",
  retryAfterMs: 100,
};

function sizeOf({ payload }: Letter): number {
  return payload.byteLength + ITEM_OVERHEAD_BYTES;
}

function keyOf(sender: Session, { taskId, fence }: LeaseRef): string {
  return `${sender.namespace}/${sender.agentId}/${taskId}/${fence}`;
}
