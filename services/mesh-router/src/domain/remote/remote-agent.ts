/** Agents whose sessions are at other replicas, as receivers of messages. */
import { PassingMap } from "@nexus/shared";
import { Inbox } from "../message/inbox.ts";
import type { Message, Receiver, Sender } from "../message/message.ts";
import type { ReplicaLink } from "./remote-ports.ts";

/** Another replica. */
export class RemotePeer {
  readonly replicaId: string;
  readonly link: ReplicaLink;
  /** Messages and replies that were handed to it and have no outcome yet, by delivery id. */
  readonly delivered = new PassingMap<string, Message>();
  /** Who waits there for what becomes of messages that came from there, by delivery id. */
  readonly waiting = new PassingMap<string, Sender>();
  /** Takes replies to those. */
  readonly askers: RemoteReceiver;

  constructor(replicaId: string, link: ReplicaLink) {
    this.replicaId = replicaId;
    this.link = link;
    this.askers = new RemoteReceiver(this);
  }

  cancel(deliveryId: string): void {
    this.link.send(this.replicaId, { kind: "cancel", deliveryId });
  }
}

/** Keeps what one receiver has, and with it what its replica has. */
class DeliveredThere extends PassingMap<string, Message> {
  readonly #peer: RemotePeer;

  constructor(peer: RemotePeer) {
    super();
    this.#peer = peer;
  }

  override set(deliveryId: string, message: Message): this {
    this.#peer.delivered.set(deliveryId, message);
    return super.set(deliveryId, message);
  }

  override delete(deliveryId: string): boolean {
    this.#peer.delivered.delete(deliveryId);
    return super.delete(deliveryId);
  }
}

/** A receiver at another replica, which has the queue; here is only what waits for its outcome. */
export class RemoteReceiver implements Receiver {
  readonly isRemote = true;
  readonly over = false;
  readonly peer: RemotePeer;
  readonly inbox = new Inbox<Message>();
  readonly delivered: PassingMap<string, Message>;
  /** Its replica knows what it acknowledged. */
  readonly breaker = undefined;

  constructor(peer: RemotePeer, delivered: PassingMap<string, Message> = new DeliveredThere(peer)) {
    this.peer = peer;
    this.delivered = delivered;
  }

  cancelDelivery(deliveryId: string): void {
    this.peer.cancel(deliveryId);
  }
}

/** An agent at another replica, as that one tells of it. */
export class RemoteAgent extends RemoteReceiver {
  readonly namespace: string;
  readonly agentId: string;
  readonly epoch: bigint;
  readonly attached: boolean;
  /** Unknown here; its replica has the truth and says OVERLOADED. */
  readonly credit = 1;
  /** Of its session: whoever has an older word of it pauses it, too. */
  readonly #pause: { untilMs: number };

  constructor(
    peer: RemotePeer,
    init: {
      readonly namespace: string;
      readonly agentId: string;
      readonly epoch: bigint;
      readonly attached: boolean;
    },
    /** What was known of it at the same replica: it still has what it was sent. */
    known?: RemoteAgent,
  ) {
    super(peer, known?.delivered);
    this.#pause = known !== undefined && known.epoch === init.epoch ? known.#pause : { untilMs: 0 };
    this.namespace = init.namespace;
    this.agentId = init.agentId;
    this.epoch = init.epoch;
    this.attached = init.attached;
  }

  /** Its replica said when it takes something again. */
  pause(untilMs: number): void {
    this.#pause.untilMs = untilMs;
  }

  pauseMs(nowMs: number): number {
    return Math.max(0, this.#pause.untilMs - nowMs);
  }

  /** What this replica sent it. One more, so that of two idle agents the near one is chosen. */
  get waiting(): number {
    return this.delivered.size + 1;
  }
}
