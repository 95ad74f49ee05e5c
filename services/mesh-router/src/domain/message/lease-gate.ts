/** Messages that are sent under a lease go on only while it holds. */
import type { Clock } from "@nexus/shared";
import { HELD_BYTES_MAX, HELD_MESSAGES_MAX, LEASES_KNOWN_MAX } from "../limits.ts";
import { detachLetter } from "./carried.ts";
import { DeadlineWheel } from "./deadline-wheel.ts";
import { Held, HeldQueue } from "./held-queue.ts";
import type { LeaseRef, Letter, Verdict } from "./letter.ts";
import type { Sender } from "./message.ts";
import { hasTooMany, overloaded, TOO_MANY_PENDING } from "./message-rules.ts";
import { Room } from "./room.ts";

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
  readonly proceed: (sender: Sender, letter: Letter) => void;
  /** Answers those that end here. */
  readonly refuse: (sender: Sender, letter: Letter, verdict: Verdict) => void;
}

/** Lets messages through, those of each pair in the order in which they came: while one waits for an answer, later ones of its pair wait
 * behind it. What waits is pending as anything else: it has its outcome in time, can be taken back, and goes with its sender. */
export class LeaseGate {
  readonly #init: LeaseGateInit;
  readonly #known = new Map<string, KnownAnswer>();
  readonly #queues = new Map<Sender, HeldQueue>();
  /** What waits for each check that is under way. */
  readonly #asked = new Map<string, Set<Held>>();
  readonly #deadlines: DeadlineWheel<Held>;
  readonly #room = new Room(HELD_MESSAGES_MAX, HELD_BYTES_MAX);

  constructor(init: LeaseGateInit) {
    this.#init = init;
    this.#deadlines = new DeadlineWheel(init.clock.nowMs());
  }

  /** Messages that wait. */
  get held(): number {
    return this.#deadlines.size;
  }

  /** Takes a message in. */
  send(sender: Sender, letter: Letter): void {
    const isBlocked = this.#queues.get(sender)?.blocks(sender, letter) === true;
    if (isBlocked || !this.#tryDecide(sender, letter)) this.#hold(sender, letter);
  }

  /** Answers those whose time has come. */
  expire(nowMs: number): void {
    for (const held of this.#deadlines.expire(nowMs)) this.#end(held, EXPIRED);
  }

  /** A sender is gone, and with it what waits. */
  ended(sender: Sender): void {
    const queue = this.#queues.get(sender);
    if (queue === undefined) return;
    this.#queues.delete(sender);
    for (const held of [...queue]) this.#refuse(held, SENDER_GONE);
  }

  /** True when it was decided at once. */
  #tryDecide(sender: Sender, letter: Letter): boolean {
    if (letter.lease === undefined) {
      this.#init.proceed(sender, letter);
      return true;
    }
    const answer = this.#answerOf(keyOf(sender, letter.lease));
    if (answer === undefined) return false;
    if (answer.valid) this.#init.proceed(sender, letter);
    else this.#init.refuse(sender, letter, invalid(answer));
    return true;
  }

  #answerOf(key: string): LeaseAnswer | undefined {
    const answer = this.#known.get(key);
    return answer !== undefined && answer.untilMs > this.#init.clock.nowMs() ? answer : undefined;
  }

  #hold(sender: Sender, letter: Letter): void {
    const { refuse, clock } = this.#init;
    const held = new Held({
      sender,
      letter: detachLetter(letter),
      leaseKey: letter.lease === undefined ? undefined : keyOf(sender, letter.lease),
      nowMs: clock.nowMs(),
      onCancel: (one) => this.#end(one, TAKEN_BACK),
    });
    if (hasTooMany(sender)) refuse(sender, letter, TOO_MANY_PENDING);
    else if (!this.#room.fits(sender.namespace, held.sizeBytes)) refuse(sender, letter, FULL);
    else this.#keep(held);
  }

  #keep(held: Held): void {
    const { sender, letter } = held;
    const queue = this.#queues.get(sender) ?? new HeldQueue();
    this.#queues.set(sender, queue);
    sender.unsettled.set(letter.messageId, held);
    this.#deadlines.add(held);
    this.#room.shareOf(sender.namespace).add(held.sizeBytes);
    queue.add(held);
    const { leaseKey } = held;
    const isKnown = leaseKey === undefined || this.#answerOf(leaseKey) !== undefined;
    if (!isKnown) this.#wait(held, leaseKey);
  }

  /** It is answered with the others of its lease. */
  #wait(held: Held, leaseKey: string): void {
    const waiting = this.#asked.get(leaseKey);
    waiting?.add(held);
    if (waiting !== undefined) return;
    this.#asked.set(leaseKey, new Set([held]));
    void this.#ask(held, leaseKey);
  }

  async #ask(first: Held, leaseKey: string): Promise<void> {
    const { sender, letter } = first;
    const answer = await this.#check(sender, letter.lease as LeaseRef);
    const waiting = this.#asked.get(leaseKey) ?? [];
    this.#asked.delete(leaseKey);
    if (answer.cacheForMs > 0) this.#remember(leaseKey, answer);
    first.isCleared = answer.valid;
    if (!answer.valid) for (const held of waiting) this.#refuse(held, invalid(answer));
    for (const held of waiting) this.#advance(held);
  }

  /** Who cannot ask must refuse. */
  async #check(sender: Sender, lease: LeaseRef): Promise<LeaseAnswer> {
    const { namespace, principalId: agentId } = sender;
    const { taskId, fence } = lease;
    try {
      return await this.#init.leases.check({ taskId, fence, namespace, agentId });
    } catch {
      return { valid: false, reason: "LEASE_UNCHECKED", cacheForMs: 0 };
    }
  }

  #end(held: Held, verdict: Verdict): void {
    // It may have been decided with one before it.
    if (held.isOver) return;
    this.#refuse(held, verdict);
    this.#advance(held);
  }

  #refuse(held: Held, verdict: Verdict): void {
    this.#letGo(held);
    this.#init.refuse(held.sender, held.letter, verdict);
  }

  /** Passes on what waits no longer because of this one. */
  #advance(held: Held): void {
    const queue = this.#queues.get(held.sender);
    queue?.advance(held, (next) => this.#tryPass(next));
    if (queue?.isEmpty === true) this.#queues.delete(held.sender);
  }

  #tryPass(held: Held): boolean {
    const { sender, leaseKey, isCleared } = held;
    const isFree = leaseKey === undefined || isCleared;
    const answer = isFree ? HOLDS : this.#answerOf(leaseKey);
    if (answer === undefined) {
      this.#wait(held, leaseKey as string);
      return false;
    }
    const { letter, expiresAtMs } = held;
    this.#letGo(held);
    const timeoutMs = expiresAtMs - this.#init.clock.nowMs();
    if (!answer.valid) this.#init.refuse(sender, letter, invalid(answer));
    else if (timeoutMs > 0) this.#init.proceed(sender, { ...letter, timeoutMs });
    else this.#init.refuse(sender, letter, EXPIRED);
    return true;
  }

  #letGo(held: Held): void {
    const { sender, letter, leaseKey } = held;
    held.isOver = true;
    this.#deadlines.delete(held);
    this.#room.shareOf(sender.namespace).drop(held.sizeBytes);
    sender.unsettled.delete(letter.messageId);
    this.#queues.get(sender)?.remove(held);
    if (leaseKey !== undefined) this.#asked.get(leaseKey)?.delete(held);
  }

  #remember(key: string, answer: LeaseAnswer): void {
    const [oldest] = this.#known.keys();
    if (this.#known.size >= LEASES_KNOWN_MAX && oldest !== undefined) this.#known.delete(oldest);
    const untilMs = this.#init.clock.nowMs() + answer.cacheForMs;
    this.#known.set(key, { ...answer, untilMs });
  }
}

const HOLDS: LeaseAnswer = { valid: true, reason: "", cacheForMs: 0 };
const FULL = overloaded("too many messages wait for the check of a lease");
const EXPIRED: Verdict = {
  outcome: "expired",
  text: "it was not known in time whether its lease, or one before it, holds",
};
const TAKEN_BACK: Verdict = { outcome: "cancelled", text: "its sender took it back" };
const SENDER_GONE: Verdict = { outcome: "cancelled", text: "its sender's session ended" };

function invalid({ reason }: LeaseAnswer): Verdict {
  const text = "the lease that it was sent under does not hold";
  return { outcome: "refused", reason, text };
}

function keyOf(sender: Sender, { taskId, fence }: LeaseRef): string {
  return `${sender.namespace}/${sender.principalId}/${taskId}/${fence}`;
}
