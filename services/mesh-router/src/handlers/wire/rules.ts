/** The contract's rules for the single messages of an agent's frame. */
import type { Credit, Goodbye, Heartbeat, Hello, Reauth } from "@nexus/proto/mesh";
import { WireError } from "@nexus/rpc";

const AGENT_ID_MAX = 128;
const SDK_TEXT_MAX = 64;
const RESUME_TOKEN_MAX = 256;
const COMPLETE_MAX = 64;
const SLOTS_MAX = 1_000;
const CREDIT_MAX = 10_000;
const ACCESS_TOKEN_MAX = 4_096;
const GOODBYE_TEXT_MAX = 1_024;

export function checkHello(hello: Hello): Hello {
  length(hello.agentId, "hello.agent_id", 1, AGENT_ID_MAX);
  length(hello.resumeToken, "hello.resume_token", 0, RESUME_TOKEN_MAX);
  length(hello.complete, "hello.complete", 0, COMPLETE_MAX);
  range(hello.slots, "hello.slots", 1, SLOTS_MAX);
  range(hello.messageCredit, "hello.message_credit", 0, CREDIT_MAX);
  if (hello.sdk !== undefined) {
    length(hello.sdk.name, "hello.sdk.name", 0, SDK_TEXT_MAX);
    length(hello.sdk.version, "hello.sdk.version", 0, SDK_TEXT_MAX);
    length(hello.sdk.runtime, "hello.sdk.runtime", 0, SDK_TEXT_MAX);
  }
  return hello;
}

export function checkHeartbeat(heartbeat: Heartbeat): Heartbeat {
  range(heartbeat.busySlots, "heartbeat.busy_slots", 0, SLOTS_MAX);
  return heartbeat;
}

export function checkCredit(credit: Credit): Credit {
  if (credit.slots !== undefined) range(credit.slots, "credit.slots", 0, SLOTS_MAX);
  range(credit.messages, "credit.messages", 0, CREDIT_MAX);
  return credit;
}

export function checkReauth(reauth: Reauth): Reauth {
  length(reauth.accessToken, "reauth.access_token", 1, ACCESS_TOKEN_MAX);
  return reauth;
}

export function checkGoodbye(goodbye: Goodbye): Goodbye {
  length(goodbye.reason, "goodbye.reason", 0, GOODBYE_TEXT_MAX);
  return goodbye;
}

/** Counts characters, as the contract's rules do, not UTF-16 units. */
function length(text: string, what: string, min: number, max: number): void {
  const count = text.length <= max ? text.length : Array.from(text).length;
  if (count >= min && count <= max) return;
  throw new WireError(`${what} must have ${min} to ${max} characters`);
}

function range(value: number, what: string, min: number, max: number): void {
  if (value < min || value > max) throw new WireError(`${what} must be ${min} to ${max}`);
}
