/** From what a sender asks for to whom it goes: leases, chains, budgets and addresses. */
import type { Clock } from "@nexus/shared";
import type { AgentBook } from "../agent-book.ts";
import { pickLeastLoaded } from "../dispatch/load-balance.ts";
import { FANOUT_DURABLE_MAX, FANOUT_MAX, OVERLOADED_RETRY_MS } from "../limits.ts";
import type { Exchange } from "../remote/exchange.ts";
import { isHere, type Place } from "../remote/places.ts";
import type { RemotePeer } from "../remote/remote-agent.ts";
import type { Session } from "../session/session.ts";
import type { Subscription, TopicBook } from "../topic/topic-book.ts";
import { AnyOf, type AnyOfInit } from "./any-of.ts";
import { detachLetter } from "./carried.ts";
import { continueChain, isAncestor } from "./chain.ts";
import { CopySender } from "./copy-sender.ts";
import { Gathering } from "./gathering.ts";
import { LeaseGate, type LeasePort } from "./lease-gate.ts";
import type { Chain, Letter, Target, Verdict } from "./letter.ts";
import type { Message, Sender } from "./message.ts";
import type { MessageEngine } from "./message-engine.ts";
import { hasTooMany, refused, TOO_MANY_PENDING, whyRefused } from "./message-rules.ts";
import type { PairBudget } from "./pair-budget.ts";
import { PublishDesk } from "./publish-desk.ts";

/** What the switch is made from. */
export interface MessageSwitchInit {
  readonly engine: MessageEngine;
  /** Where agents are, and the way to other replicas. */
  readonly exchange: Pick<Exchange, "places" | "sendCopies" | "knowsAll">;
  readonly agents: AgentBook;
  readonly topics: TopicBook;
  readonly budget: PairBudget;
  readonly leases: LeasePort;
  readonly clock: Clock;
}

/** Who gets a message to many, each with the group for which it does. */
type Receivers = ReadonlyMap<Place, readonly string[]>;

/** Where every message comes in. */
export class MessageSwitch {
  readonly #init: MessageSwitchInit;
  readonly #gate: LeaseGate;
  readonly #publishers: PublishDesk;
  /** Moves the first candidate of a group on. */
  #turn = 0;

  constructor(init: MessageSwitchInit) {
    this.#init = init;
    const { leases, clock, engine } = init;
    this.#publishers = new PublishDesk(engine, clock.nowMs());
    this.#gate = new LeaseGate({
      leases,
      clock,
      proceed: (sender, letter) => this.#route(sender, letter),
      refuse: (sender, letter, verdict) => engine.refuse(sender, letter, verdict),
    });
  }

  /** Messages that wait until it is known whether a lease holds. */
  get held(): number {
    return this.#gate.held;
  }

  /** Settles those of them whose time has come, and tells publishers that have waited for long enough. */
  expire(nowMs: number): void {
    this.#gate.expire(nowMs);
    this.#publishers.expire(nowMs);
  }

  /** A sender is gone, or goes on at another replica. */
  ended(sender: Sender): void {
    this.#gate.ended(sender);
  }

  /** Takes a message in. Its outcome goes to the sender, at once or later. */
  send(sender: Sender, letter: Letter): void {
    const refusal = whyRefused(sender, letter);
    if (refusal !== undefined) this.#init.engine.answer(sender, letter, refusal);
    else this.#gate.send(sender, letter);
  }

  #route(sender: Sender, letter: Letter): void {
    const { engine, clock } = this.#init;
    if (letter.inReplyTo !== "" || (letter.chain === undefined && letter.target === undefined)) {
      engine.send(sender, letter, clock.nowMs());
      return;
    }
    const onward = continueChain(sender.principalId, letter, clock.nowMs());
    if ("outcome" in onward) engine.answer(sender, letter, onward);
    else if (letter.target === undefined) this.#routeDirect(sender, letter, onward);
    else if (letter.target.kind === "capability" && letter.gather === undefined) {
      this.#routeToOne(sender, letter, { ...onward, target: letter.target });
    } else this.#routeToMany(sender, letter, { ...onward, target: letter.target });
  }

  #routeDirect(sender: Sender, letter: Letter, onward: Partial<Letter>): void {
    const { engine, clock } = this.#init;
    const { toAgentId } = letter;
    const stop = isAncestor(letter, toAgentId) ? LOOP : this.#spend(sender, letter, toAgentId);
    if (stop !== undefined) engine.answer(sender, letter, stop);
    else engine.send(sender, { ...letter, ...onward }, clock.nowMs());
  }

  #spend(sender: Sender, { chain }: Letter, to: string): Verdict | undefined {
    const { budget, clock } = this.#init;
    return budget.spend({ sender, chain, to, nowMs: clock.nowMs() });
  }

  /** Whoever can do it and has the least to do; for a durable message also one without a session. */
  #routeToOne(
    sender: Sender,
    letter: Letter,
    onward: Partial<Letter> & { readonly target: Target },
  ): void {
    const { engine, clock } = this.#init;
    const members = this.#init.agents.members(sender.namespace, onward.target.name);
    const anyOf = this.#anyOf(sender, letter.chain, { members });
    const toAgentId = anyOf.first(letter);
    if (toAgentId === undefined) engine.answer(sender, letter, this.#nobody(NOBODY_CAN));
    else {
      const stop = this.#spend(sender, letter, toAgentId);
      const onwards = letter.mail === undefined ? anyOf : undefined;
      if (stop !== undefined) engine.answer(sender, letter, stop);
      else engine.send(sender, { ...letter, ...onward, toAgentId, onwards }, clock.nowMs());
    }
  }

  #anyOf(
    sender: Sender,
    chain: Chain | undefined,
    among: Pick<AnyOfInit, "members" | "taken">,
  ): AnyOf {
    const { exchange, engine, budget, clock } = this.#init;
    const { places } = exchange;
    this.#turn += 1;
    return new AnyOf({ ...among, sender, chain, turn: this.#turn, places, engine, budget, clock });
  }

  #routeToMany(
    sender: Sender,
    letter: Letter,
    onward: Partial<Letter> & { readonly target: Target },
  ): void {
    const { engine } = this.#init;
    const { target } = onward;
    const stop = this.#spend(sender, letter, `${target.kind}:${target.name}`);
    if (stop !== undefined) {
      engine.answer(sender, letter, stop);
      return;
    }
    const copy = detachLetter({ ...letter, ...onward });
    if (target.kind === "topic") this.#tellEars(sender, copy, target.name);
    if (letter.mail !== undefined) this.#store(sender, copy, target);
    else this.#copy(sender, copy, target);
  }

  #tellEars(sender: Sender, letter: Letter, topic: string): void {
    const { ears, farEars } = this.#init.topics.match(sender.namespace, topic);
    if (ears.length + farEars.length === 0) return;
    const { subject, payload } = letter;
    const acceptedAtMs = this.#init.clock.nowMs();
    for (const ear of [...ears, ...farEars]) {
      ear({ topic, from: sender.principalId, subject, payload, acceptedAtMs });
    }
  }

  #store(sender: Sender, letter: Letter, target: Target): void {
    const { engine } = this.#init;
    const receivers = this.#durableReceivers(sender, letter, target);
    if (receivers.size === 0) engine.answer(sender, letter, this.#nobody(NOBODY));
    else if (receivers.size > FANOUT_DURABLE_MAX) engine.answer(sender, letter, TOO_MANY);
    else engine.postToMany(sender, letter, [...receivers]);
  }

  #durableReceivers(sender: Sender, letter: Letter, target: Target): Set<string> {
    const { exchange, agents, topics } = this.#init;
    const { namespace } = sender;
    const found = new Set<string>();
    if (target.kind === "all") {
      for (const agentId of agents.agentsOf(namespace)) found.add(agentId);
      for (const { agentId } of exchange.places.of(namespace)) found.add(agentId);
    } else {
      const { subscriptions } = topics.match(namespace, target.name);
      for (const agentId of this.#onePerGroup(sender, letter, subscriptions, "absent too").keys()) {
        found.add(agentId);
      }
    }
    found.delete(sender.principalId);
    for (const ancestor of letter.chain?.ancestors ?? []) found.delete(ancestor);
    return found;
  }

  #copy(sender: Sender, letter: Letter, target: Target): void {
    const { engine } = this.#init;
    const receivers = this.#liveReceivers(sender, letter, target);
    if (receivers.size === 0) engine.answer(sender, letter, this.#nobody(NOBODY));
    else if (receivers.size > FANOUT_MAX) engine.answer(sender, letter, TOO_MANY);
    else if (letter.gather?.mode === "all" && !this.#init.exchange.knowsAll) {
      engine.answer(sender, letter, NOT_ALL_KNOWN);
    } else if (hasTooMany(sender)) {
      engine.answer(sender, letter, TOO_MANY_PENDING);
    } else if (letter.gather !== undefined) this.#gather(sender as Session, letter, receivers);
    else this.#publish(sender, letter, receivers);
  }

  /** Nobody was found: there is nobody, or it is not known who is at the other replicas. */
  #nobody(verdict: Verdict): Verdict {
    return this.#init.exchange.knowsAll ? verdict : NOT_ALL_KNOWN;
  }

  #liveReceivers(sender: Sender, letter: Letter, target: Target): Receivers {
    const { agents, topics } = this.#init;
    const { places } = this.#init.exchange;
    const { namespace } = sender;
    const found = new Map<Place, readonly string[]>();
    const add = (session: Place | undefined, group: readonly string[] = NO_GROUP): void => {
      if (session === undefined || session.over || session.agentId === sender.principalId) return;
      if (!isAncestor(letter, session.agentId)) found.set(session, group);
    };
    if (target.kind === "all") for (const place of places.of(namespace)) add(place);
    else if (target.kind === "capability") {
      for (const id of agents.members(namespace, target.name)) add(places.find(namespace, id));
    } else {
      const { subscriptions } = topics.match(namespace, target.name);
      if (subscriptions.every(({ group }) => group === "")) {
        for (const { agentId } of subscriptions) add(places.find(namespace, agentId));
        return found;
      }
      for (const [id, group] of this.#onePerGroup(sender, letter, subscriptions, "present")) {
        add(places.find(namespace, id), group);
      }
    }
    return found;
  }

  /** Of each group the least loaded member, with the ids of all; everyone who is in none, with none. */
  #onePerGroup(
    sender: Sender,
    letter: Letter,
    subscriptions: readonly Subscription[],
    who: "present" | "absent too",
  ): ReadonlyMap<string, readonly string[]> {
    const groups = new Map<string, Subscription[]>();
    const chosen = new Map<string, readonly string[]>();
    for (const subscription of subscriptions) {
      const { group, pattern, agentId } = subscription;
      if (agentId === sender.principalId || isAncestor(letter, agentId)) continue;
      if (group === "") chosen.set(agentId, NO_GROUP);
      else {
        const key = `${group} ${pattern}`;
        groups.set(key, [...(groups.get(key) ?? []), subscription]);
      }
    }
    this.#turn += 1;
    const { exchange, clock } = this.#init;
    const placeOf = ({ agentId }: Subscription): Place | undefined =>
      exchange.places.find(sender.namespace, agentId);
    const bytes = letter.mail === undefined ? letter.payload.byteLength : 0;
    const look = { turn: this.#turn, nowMs: clock.nowMs(), bytes, placeOf };
    for (const members of groups.values()) {
      const found = pickLeastLoaded(members, look);
      const absent = who === "present" ? undefined : members.find(({ durable }) => durable);
      const member = found?.member ?? absent;
      if (member === undefined || chosen.has(member.agentId)) continue;
      chosen.set(
        member.agentId,
        members.map(({ agentId }) => agentId),
      );
    }
    return chosen;
  }

  #publish(sender: Sender, letter: Letter, receivers: Receivers): void {
    const { engine, clock } = this.#init;
    const copies = new CopySender(sender, engine.tallyOf(sender));
    const nowMs = clock.nowMs();
    const far = new Map<RemotePeer, string[]>();
    const onwards = this.#onwardsOf(sender, letter, receivers);
    const taken: Message[] = [];
    for (const [receiver, group] of receivers) {
      if (group.length > 1 || isHere(receiver)) {
        const own = group.length > 1 ? onwards(group) : letter;
        const copy = engine.sendCopy(copies, own, receiver, nowMs);
        if (copy !== undefined) taken.push(copy);
      } else {
        const ids = far.get(receiver.peer);
        if (ids === undefined) far.set(receiver.peer, [receiver.agentId]);
        else ids.push(receiver.agentId);
      }
    }
    const count = taken.length + this.#publishFar(sender, letter, far);
    // Whoever is not known is not told: at least one, so that nobody takes it for complete.
    const unknown = this.#init.exchange.knowsAll ? 0 : 1;
    const counts = { receivers: count, missed: receivers.size - count + unknown };
    const verdict: Verdict = count > 0 ? { ...TAKEN_IN, ...counts } : { ...ALL_FULL, ...counts };
    this.#publishers.answer(sender, letter, { verdict, copies: taken, nowMs });
  }

  /** Makes a group's copy: whom its member's replica cannot take it in for, it goes on from, to one who has none. */
  #onwardsOf(
    sender: Sender,
    letter: Letter,
    receivers: Receivers,
  ): (members: readonly string[]) => Letter {
    let taken: Set<string> | undefined;
    return (members) => {
      taken ??= new Set([...receivers.keys()].map(({ agentId }) => agentId));
      return { ...letter, onwards: this.#anyOf(sender, letter.chain, { members, taken }) };
    };
  }

  /** One message for each replica. Whom it takes them in for, it does not say: they count as taken in. */
  #publishFar(
    { namespace, principalId: from }: Sender,
    letter: Letter,
    far: ReadonlyMap<RemotePeer, readonly string[]>,
  ): number {
    let taken = 0;
    for (const [peer, toAgentIds] of far) {
      const copies = { namespace, from, toAgentIds, letter };
      if (this.#init.exchange.sendCopies(peer, copies)) taken += toAgentIds.length;
    }
    return taken;
  }

  #gather(asker: Session, letter: Letter, receivers: Receivers): void {
    const { engine, clock } = this.#init;
    if (letter.gather === undefined) return;
    const { messageId } = letter;
    const gathering = new Gathering({
      asker,
      messageId,
      terms: letter.gather,
      tally: engine.tallyOf(asker),
      onOver: (over, verdict) => {
        asker.unsettled.delete(messageId);
        engine.withdraw(over);
        engine.answer(asker, { messageId }, { ...verdict, ...over.counts });
      },
    });
    asker.unsettled.set(messageId, gathering);
    const nowMs = clock.nowMs();
    const onwards = this.#onwardsOf(asker, letter, receivers);
    for (const [receiver, group] of receivers) {
      const copy = group.length > 1 ? onwards(group) : letter;
      gathering.asked(engine.sendCopy(gathering, copy, receiver, nowMs) !== undefined);
    }
    gathering.complete();
  }
}

const NO_GROUP: readonly string[] = [];
const LOOP: Verdict = { outcome: "loop", text: "the receiver is among those who caused it" };
const NOBODY: Verdict = { outcome: "no_such_agent", text: "nobody receives what is sent there" };
const NOBODY_CAN: Verdict = {
  outcome: "no_such_agent",
  text: "no agent with this capability can take it",
};
const NOT_ALL_KNOWN: Verdict = {
  outcome: "overloaded",
  text: "it is not known at the moment who is at the other replicas",
  retryAfterMs: OVERLOADED_RETRY_MS,
};
const TOO_MANY: Verdict = refused("FANOUT_LIMIT", "it would go to more receivers than may be");
const TAKEN_IN: Verdict = { outcome: "queued", text: "" };
const ALL_FULL: Verdict = {
  outcome: "overloaded",
  text: "every receiver's queue is full, or too many copies of its sender wait",
  retryAfterMs: 100,
};
