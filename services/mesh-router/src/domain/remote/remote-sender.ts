/** Senders at other replicas, as the messages that came from there know them. */
import { PassingMap } from "@nexus/shared";
import type { SendResult } from "../message/letter.ts";
import type { Sender, Unsettled } from "../message/message.ts";
import type { RemotePeer } from "./remote-agent.ts";

/** Stands for the sender of one message, or reply, of another replica. */
export class RemoteSender implements Sender {
  readonly namespace: string;
  readonly principalId: string;
  readonly peer: RemotePeer;
  /** The message's name between the two replicas. */
  readonly deliveryId: string;
  readonly expectsReply: boolean;
  readonly isRemote = true;
  readonly unsettled = new PassingMap<string, Unsettled>();
  readonly stream = undefined;
  constructor(init: {
    readonly namespace: string;
    readonly principalId: string;
    readonly peer: RemotePeer;
    readonly deliveryId: string;
    readonly expectsReply: boolean;
  }) {
    this.namespace = init.namespace;
    this.principalId = init.principalId;
    this.peer = init.peer;
    this.deliveryId = init.deliveryId;
    this.expectsReply = init.expectsReply;
    this.peer.waiting.set(this.deliveryId, this);
  }

  /** Tells the other replica. A request that was answered has its outcome there, with the reply. */
  takeResult(verdict: SendResult): void {
    const { peer, deliveryId } = this;
    peer.waiting.delete(deliveryId);
    if (this.expectsReply && verdict.outcome === "delivered") return;
    peer.link.send(peer.replicaId, { kind: "outcome", outcome: { deliveryId, verdict } });
  }
}
