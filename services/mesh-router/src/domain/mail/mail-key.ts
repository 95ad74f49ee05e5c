/** What makes two durable messages the same. */
import { hash } from "node:crypto";
import type { Letter } from "../message/letter.ts";

const KEY_DIGITS = 32;
const SEPARATOR = "\u0000";

/** Names a message of a sender: 128 bits of a hash, as 32 hexadecimal digits. */
export function mailKey(namespace: string, sender: string, messageId: string): string {
  const name = namespace + SEPARATOR + sender + SEPARATOR + messageId;
  return hash("sha256", name, "hex").slice(0, KEY_DIGITS);
}

/** 64 bits of a hash of what the message says and to whom. Whoever finds two bodies with one hash has fooled only itself. */
export function bodyHash({ toAgentId, target, subject, payload }: Letter): bigint {
  // Whom a capability stood for may be another one at the second try.
  const to = target === undefined ? toAgentId : `${target.kind}:${target.name}`;
  const head = Buffer.from(`${to}${SEPARATOR}${subject.byteLength}${SEPARATOR}`);
  const digest = hash("sha256", Buffer.concat([head, subject, payload]), "buffer");
  return digest.readBigInt64BE(0);
}
