/** A message to any one of several: to the least loaded, and on to the next while they cannot take it. */
import type { Clock } from "@nexus/shared";
import { pickLeastLoaded } from "../dispatch/load-balance.ts";
import { ANY_OF_TRIES_MAX } from "../limits.ts";
import type { Place, Places } from "../remote/places.ts";
import type { Chain, Letter, Onwards, Outcome, Verdict } from "./letter.ts";
import type { Message, Sender } from "./message.ts";
import type { MessageEngine } from "./message-engine.ts";
import { whyNotTaken } from "./message-rules.ts";
import type { PairBudget } from "./pair-budget.ts";

/** What says that the receiver was not given the message. */
const NOT_GIVEN: ReadonlySet<Outcome> = new Set(["breaker_open", "overloaded", "no_such_agent"]);

/** What it is made from: nothing that holds the message's bytes. */
export interface AnyOfInit {
  readonly sender: Sender;
  /** What caused the message, as its sender presents it. */
  readonly chain: Chain | undefined;
  /** Ids of the agents that can take it. */
  readonly members: readonly string[];
  /** Moves the first candidate on from message to message. */
  readonly turn: number;
  readonly places: Places;
  readonly engine: Pick<MessageEngine, "move">;
  readonly budget: PairBudget;
  readonly clock: Clock;
  /** Of a group's copy of a message to many: who has one, which is added to. */
  readonly taken?: Set<string>;
}

/** Knows who was tried. */
export class AnyOf implements Onwards {
  readonly #init: AnyOfInit;
  /** Who was tried, or has the message anyway. */
  readonly #taken: Set<string>;
  #tries = 1;

  constructor(init: AnyOfInit) {
    this.#init = init;
    this.#taken = init.taken ?? new Set();
  }

  /** Whoever has the least to do; for a durable message, which waits, also one without a session. */
  first({ payload, mail }: Pick<Letter, "payload" | "mail">): string | undefined {
    const isDurable = mail !== undefined;
    const agentId =
      this.#leastLoaded(isDurable ? 0 : payload.byteLength) ?? this.#anyone(isDurable);
    if (agentId !== undefined) this.#taken.add(agentId);
    return agentId;
  }

  /** Takes a message on to the next one when its receiver could not take it, and so never had it. False: there is no other. */
  take(message: Message, { outcome }: Verdict): boolean {
    const next = NOT_GIVEN.has(outcome) ? this.#next(message.sizeBytes) : undefined;
    if (next === undefined) return false;
    this.#init.engine.move(message, next, this.#init.clock.nowMs());
    return true;
  }

  #next(bytes: number): Place | undefined {
    const { places, sender, chain, budget, clock } = this.#init;
    if (this.#tries >= ANY_OF_TRIES_MAX) return undefined;
    const agentId = this.#leastLoaded(bytes);
    if (agentId === undefined) return undefined;
    this.#taken.add(agentId);
    this.#tries += 1;
    const nowMs = clock.nowMs();
    const place = places.find(sender.namespace, agentId);
    const isWell = place?.pauseMs(nowMs) === 0 && whyNotTaken(place, bytes, nowMs) === undefined;
    const isSpent = isWell && budget.spend({ sender, chain, to: agentId, nowMs }) !== undefined;
    return isWell && !isSpent ? place : undefined;
  }

  #leastLoaded(bytes: number): string | undefined {
    const { members, turn, clock, places, sender } = this.#init;
    const placeOf = (id: string): Place | undefined =>
      this.#isFit(id) ? places.find(sender.namespace, id) : undefined;
    return pickLeastLoaded(members, { turn, nowMs: clock.nowMs(), bytes, placeOf })?.member;
  }

  /** All that have a session are full, or none has one. */
  #anyone(isDurable: boolean): string | undefined {
    const { members, turn, places, sender } = this.#init;
    const anyone = members.filter((id) => this.#isFit(id));
    const there = anyone.find((id) => places.find(sender.namespace, id) !== undefined);
    if (there !== undefined || !isDurable) return there;
    return anyone[turn % Math.max(1, anyone.length)];
  }

  #isFit(agentId: string): boolean {
    const { sender, chain } = this.#init;
    if (agentId === sender.principalId || this.#taken.has(agentId)) return false;
    return chain?.ancestors.includes(agentId) !== true;
  }
}
