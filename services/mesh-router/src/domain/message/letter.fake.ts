/** Letters that nobody wrote. */
import type { Letter } from "./letter.ts";

const NOTHING = new Uint8Array();

/** An ephemeral message of no bytes that has a second to arrive and wants no reply, unless said otherwise. */
export function fakeLetter(
  messageId: string,
  toAgentId: string,
  more: Partial<Letter> = {},
): Letter {
  return {
    messageId,
    toAgentId,
    payload: NOTHING,
    subject: NOTHING,
    expectsReply: false,
    inReplyTo: "",
    timeoutMs: 1_000,
    traceparent: NOTHING,
    ...more,
  };
}
