/** The way from the message engine to other replicas. */
import type { Message, Receiver } from "../message/message.ts";
import type { Session } from "../session/session.ts";
import type { RemoteAgent } from "./remote-agent.ts";
import type { RemoteSender } from "./remote-sender.ts";

/** Where agents are, and what carries messages there. */
export interface Outward {
  /** An agent's session, here or elsewhere, as far as memory knows. */
  find(namespace: string, agentId: string): Session | RemoteAgent | undefined;
  /** An agent that is being looked for. */
  findSought(namespace: string, agentId: string): Receiver | undefined;
  /** Begins to look for an agent that memory does not know; undefined when there is nowhere to look. */
  seek(namespace: string, agentId: string): Receiver | undefined;
  /** Takes a message for a receiver that is not here. */
  enqueue(receiver: Receiver, message: Message): void;
  /** Takes a reply. */
  reply(asker: RemoteSender, message: Message): void;
  /** Takes a message whose receiver is not here any more. */
  redirect(message: Message): void;
}
