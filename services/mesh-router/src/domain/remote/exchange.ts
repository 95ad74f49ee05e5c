/** Messages between this replica and the others: each has one queue, at its receiver's replica, and one outcome, at its sender's. */
import type { Clock } from "@nexus/shared";
import { OVERLOADED_RETRY_MS, REMOTE_SENDERS_MAX, SEEK_BATCH } from "../limits.ts";
import { nameKey } from "../mail/mail-ports.ts";
import { CopySender } from "../message/copy-sender.ts";
import type { Letter, Verdict } from "../message/letter.ts";
import type { Message, Receiver } from "../message/message.ts";
import type { MessageEngine } from "../message/message-engine.ts";
import { NO_SESSION, whyNotTaken } from "../message/message-rules.ts";
import type { Session } from "../session/session.ts";
import type { SessionDirectory } from "../session/session-directory.ts";
import type { TopicBook } from "../topic/topic-book.ts";
import type { Outward } from "./outward.ts";
import { Places } from "./places.ts";
import { RemoteAgent, type RemotePeer } from "./remote-agent.ts";
import {
  isNotHere,
  type Locator,
  NOT_HERE,
  type RelayedCopies,
  type RelayedItem,
  type RelayedMessage,
  type RelayedOutcome,
  type RelayedReply,
  type ReplicaLink,
  type Whereabouts,
} from "./remote-ports.ts";
import { RemoteSender } from "./remote-sender.ts";
import { RosterBook } from "./roster-book.ts";
import { Seeker, type SoughtAgent } from "./seeker.ts";

/** What the exchange is made from. */
export interface ExchangeInit {
  /** This replica. */
  readonly replicaId: string;
  /** True when there can be no other replica. */
  readonly isAlone: boolean;
  readonly directory: SessionDirectory;
  readonly topics: TopicBook;
  readonly link: ReplicaLink;
  readonly locator: Locator;
  readonly clock: Clock;
  readonly onLocateFailed: (error: unknown) => void;
}

/** Owns what is under way between replicas. */
export class Exchange implements Outward {
  readonly rosters: RosterBook;
  readonly places: Places;
  readonly #init: ExchangeInit;
  readonly #seeker: Seeker;
  #engine: MessageEngine | undefined;
  /** Ends a session that is at another replica by now. */
  #onMoved: (session: Session) => void = () => undefined;
  /** Sessions that another replica claims, too. */
  readonly #disputed = new Set<Session>();
  #isJudging = false;

  constructor(init: ExchangeInit) {
    this.#init = init;
    const { link, topics, locator } = init;
    this.rosters = new RosterBook({ link, topics, onSession: (agent) => this.#compare(agent) });
    this.places = new Places(init.directory, this.rosters);
    this.#seeker = new Seeker({
      locator,
      onFound: (sought, whereabouts) => this.#found(sought, whereabouts),
      onUnknown: (sought) => this.#refuseAll(sought, UNKNOWN),
      onFailed: init.onLocateFailed,
    });
  }

  /** Ties the knot: both need each other. */
  bind(engine: MessageEngine, onMoved: (session: Session) => void): void {
    this.#engine = engine;
    this.#onMoved = onMoved;
  }

  /** Agents that are being looked for. */
  get seeking(): number {
    return this.#seeker.size;
  }

  /** True while it is known who is at the other replicas; otherwise nobody found does not mean that there is nobody. */
  get knowsAll(): boolean {
    const { isAlone, link } = this.#init;
    return isAlone || (link.isConnected && this.rosters.unknown.length === 0);
  }

  find(namespace: string, agentId: string): Session | RemoteAgent | undefined {
    return this.places.find(namespace, agentId);
  }

  findSought(namespace: string, agentId: string): Receiver | undefined {
    return this.#seeker.find(namespace, agentId);
  }

  seek(namespace: string, agentId: string): Receiver | undefined {
    return this.#init.isAlone ? undefined : this.#seeker.seek(namespace, agentId);
  }

  enqueue(receiver: Receiver, message: Message): void {
    if (receiver instanceof RemoteAgent) this.#handOver(receiver, message);
    else {
      message.detach();
      receiver.inbox.add(message);
    }
  }

  reply(asker: RemoteSender, message: Message): void {
    const { peer, deliveryId: requestId } = asker;
    const { deliveryId } = message;
    this.#markSent(message);
    const reply = {
      deliveryId,
      requestId,
      from: message.sender.principalId,
      letter: this.#letter(message),
    };
    const isTaken = peer.link.send(peer.replicaId, { kind: "reply", reply });
    if (!isTaken) this.#conclude(message, UNREACHABLE);
  }

  redirect(message: Message): void {
    // A reply's way is its request's; a message of another replica is that one's to send on.
    if (message.request !== undefined) this.#conclude(message, NO_SESSION);
    else if (message.sender.isRemote === true) this.#conclude(message, NOBODY_HERE);
    else {
      const { agentId } = message.receiver as Session | RemoteAgent;
      const sought = this.seek(message.sender.namespace, agentId);
      if (sought === undefined) this.#conclude(message, NO_SESSION);
      else {
        message.receiver = sought;
        this.enqueue(sought, message);
      }
    }
  }

  /** Sends a message to many of one other replica; false when it was not taken. */
  sendCopies(peer: RemotePeer, copies: RelayedCopies): boolean {
    return peer.link.send(peer.replicaId, { kind: "copies", copies });
  }

  /** There is another replica. */
  peerJoined(replicaId: string): void {
    this.rosters.joined(replicaId);
  }

  /** A replica is gone: what it had in hand may have come through or not, and nobody there waits any more. */
  peerLost(replicaId: string): void {
    this.missed();
    const peer = this.rosters.lost(replicaId);
    if (peer === undefined) return;
    for (const message of peer.delivered.values()) {
      // Of what is answered the reply is here.
      if (message.phase !== "answered") this.#conclude(message, LOST);
    }
    for (const sender of peer.waiting.values()) this.#engine?.abandon(sender);
  }

  /** Something of another replica may have been lost. What it was nobody knows, so whoever watches a topic is told. */
  missed(): void {
    this.#init.topics.tellLoss();
  }

  /** Another replica sent something. */
  take(from: string, item: RelayedItem): void {
    const peer = this.rosters.joined(from);
    if (item.kind === "message") this.#takeMessage(peer, item.message);
    else if (item.kind === "copies") this.#takeCopies(item.copies);
    else if (item.kind === "reply") this.#takeReply(peer, item.reply);
    else if (item.kind === "outcome") this.#takeOutcome(peer, item.outcome);
    else if (item.kind === "cancel") this.#takeCancel(peer, item.deliveryId);
    else {
      const { published, namespace } = item;
      const { ears } = this.#init.topics.match(namespace, published.topic);
      for (const ear of ears) ear(published);
    }
  }

  #takeMessage(peer: RemotePeer, message: RelayedMessage): void {
    const { deliveryId, namespace, from, toAgentId, letter } = message;
    const { expectsReply } = letter;
    const session = this.#init.directory.find(namespace, toAgentId);
    const isFull = peer.waiting.size >= REMOTE_SENDERS_MAX;
    const sender = new RemoteSender({
      namespace,
      principalId: from,
      peer,
      deliveryId,
      expectsReply,
    });
    if (isFull) this.#engine?.answer(sender, letter, FULL);
    else if (session === undefined || session.over) {
      this.#engine?.answer(sender, letter, NOBODY_HERE);
    } else this.#engine?.sendTo(sender, letter, session, this.#init.clock.nowMs());
  }

  #takeCopies({ namespace, from, toAgentIds, letter }: RelayedCopies): void {
    const nowMs = this.#init.clock.nowMs();
    const engine = this.#engine;
    if (engine === undefined) return;
    const sender = { namespace, principalId: from };
    const copies = new CopySender(sender, engine.tallyOf(sender));
    for (const agentId of toAgentIds) {
      const session = this.#init.directory.find(namespace, agentId);
      if (session !== undefined) engine.sendCopy(copies, letter, session, nowMs);
    }
  }

  /** Only whom a request was sent to can answer it. */
  #takeReply(peer: RemotePeer, { deliveryId, requestId, from, letter }: RelayedReply): void {
    const request = peer.delivered.get(requestId);
    const { receiver } = request ?? {};
    const isAwaited = receiver instanceof RemoteAgent && receiver.agentId === from;
    const namespace = request?.sender.namespace ?? "";
    const init = { namespace, principalId: from, peer, deliveryId, expectsReply: false };
    const sender = new RemoteSender(init);
    const awaited = isAwaited ? request : undefined;
    this.#engine?.reply(sender, letter, awaited, this.#init.clock.nowMs());
  }

  #takeOutcome(peer: RemotePeer, { deliveryId, verdict }: RelayedOutcome): void {
    const message = peer.delivered.get(deliveryId);
    if (message === undefined) return;
    if (verdict.outcome === "delivered") {
      this.#engine?.deliveredAt(message, this.#init.clock.nowMs());
    } else if (!isNotHere(verdict)) this.#giveBack(message, verdict);
    else if (message.isAstray || !(message.receiver instanceof RemoteAgent)) {
      this.#conclude(message, NO_SESSION);
    } else {
      // What was known of the agent is wrong: the table says where it is, once.
      message.isAstray = true;
      message.phase = "queued";
      message.receiver.delivered.delete(deliveryId);
      this.rosters.notThere(message.receiver);
      this.redirect(message);
    }
  }

  #takeCancel(peer: RemotePeer, deliveryId: string): void {
    const sender = peer.waiting.get(deliveryId);
    if (sender !== undefined) this.#engine?.abandon(sender);
  }

  #handOver(agent: RemoteAgent, message: Message): void {
    const { peer, namespace, agentId: toAgentId } = agent;
    const { deliveryId } = message;
    this.#markSent(message);
    const relayed = {
      deliveryId,
      namespace,
      from: message.sender.principalId,
      toAgentId,
      letter: this.#letter(message),
    };
    const isTaken = peer.link.send(peer.replicaId, { kind: "message", message: relayed });
    if (!isTaken) this.#giveBack(message, UNREACHABLE);
  }

  /** What another replica did not take. Whoever may choose goes elsewhere meanwhile. */
  #giveBack(message: Message, verdict: Verdict): void {
    const { receiver } = message;
    const { retryAfterMs } = verdict;
    if (retryAfterMs !== undefined && receiver instanceof RemoteAgent) {
      receiver.pause(this.#init.clock.nowMs() + retryAfterMs);
    }
    this.#conclude(message, verdict);
  }

  #markSent(message: Message): void {
    message.phase = "sent";
    message.receiver.delivered.set(message.deliveryId, message);
  }

  #letter(message: Message): Letter {
    const { messageId, subject, expectsReply, traceparent, chain, topic, more, part } = message;
    return {
      messageId,
      toAgentId: "",
      payload: message.payload ?? NOTHING,
      subject,
      expectsReply,
      inReplyTo: "",
      timeoutMs: Math.max(1, message.expiresAtMs - this.#init.clock.nowMs()),
      traceparent,
      chain,
      target: topic === "" ? undefined : { kind: "topic", name: topic },
      more,
      part,
    };
  }

  #found(sought: SoughtAgent, whereabouts: Whereabouts | undefined): void {
    const place = this.#placeOf(sought, whereabouts);
    if (whereabouts === undefined) this.#refuseAll(sought, NO_SESSION);
    else if (place === undefined) this.#refuseAll(sought, AWAY);
    else for (const message of [...sought.inbox]) this.#passOn(sought, message, place);
  }

  /** What waited has no claim that what comes now has not: the same bound and the same breaker are before it. */
  #passOn(sought: SoughtAgent, message: Message, place: Session | RemoteAgent): void {
    const nowMs = this.#init.clock.nowMs();
    const verdict = whyNotTaken(place, message.sizeBytes, nowMs);
    if (verdict !== undefined) {
      this.#conclude(message, verdict);
      return;
    }
    sought.inbox.delete(message);
    message.receiver = place;
    place.breaker?.letThrough(message, nowMs);
    this.#engine?.enqueue(place, message);
  }

  #placeOf(
    { namespace, agentId }: SoughtAgent,
    whereabouts: Whereabouts | undefined,
  ): Session | RemoteAgent | undefined {
    if (whereabouts === undefined) return undefined;
    const { routerId, epoch } = whereabouts;
    if (routerId === this.#init.replicaId) return this.#init.directory.find(namespace, agentId);
    return this.rosters.learned(routerId, { namespace, agentId, epoch, attached: true });
  }

  #refuseAll(sought: SoughtAgent, verdict: Verdict): void {
    for (const message of [...sought.inbox]) this.#conclude(message, verdict);
  }

  /** Another replica says that it has a session which is also here: the table says whose it is. */
  #compare(agent: RemoteAgent): void {
    const { namespace, agentId } = agent;
    const here = this.#init.directory.find(namespace, agentId);
    if (here === undefined || here.over || here.epoch > agent.epoch) return;
    if (here.epoch === agent.epoch && !agent.attached) return;
    this.#disputed.add(here);
    if (!this.#isJudging) void this.#judgeAll();
  }

  /** One statement at a time: after a partition there may be thousands. */
  async #judgeAll(): Promise<void> {
    this.#isJudging = true;
    try {
      await Promise.resolve();
      while (this.#disputed.size > 0) {
        await this.#judgeSome([...this.#disputed].slice(0, SEEK_BATCH));
      }
    } catch (error) {
      // A session that is not judged now ends by itself: its end asks the table, too.
      this.#disputed.clear();
      this.#init.onLocateFailed(error);
    } finally {
      this.#isJudging = false;
    }
  }

  async #judgeSome(sessions: readonly Session[]): Promise<void> {
    const whereabouts = await this.#init.locator.locate(sessions);
    for (const session of sessions) {
      this.#disputed.delete(session);
      const found = whereabouts.get(nameKey(session.namespace, session.agentId));
      const isOurs =
        found === undefined ||
        (found.routerId === this.#init.replicaId && found.epoch <= session.epoch);
      if (!isOurs && !session.over) this.#onMoved(session);
    }
  }

  #conclude(message: Message, verdict: Verdict): void {
    this.#engine?.conclude(message, verdict);
  }
}

const NOTHING = new Uint8Array();
const RETRY = { outcome: "overloaded", retryAfterMs: OVERLOADED_RETRY_MS } as const;
const FULL: Verdict = { ...RETRY, text: "the receiver's replica is full" };
const UNREACHABLE: Verdict = {
  ...RETRY,
  text: "the receiver's replica cannot be told at the moment",
};
const UNKNOWN: Verdict = { ...RETRY, text: "it cannot be found out where the receiver is" };
const AWAY: Verdict = {
  ...RETRY,
  text: "the replica that has the agent's session cannot be reached",
};
const LOST: Verdict = {
  outcome: "expired",
  text: "the receiver's replica was lost before it said what became of it",
};
const NOBODY_HERE: Verdict = { outcome: "no_such_agent", reason: NOT_HERE, text: "not here" };
