/** What tests of keys and ciphertexts share. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type CreateKeyRequestSchema, type Key, KeyType } from "@nexus/proto/vault";
import { type Replica, requestId, type Session } from "./_helpers.ts";

export const CONTEXT = { resourceType: "order", resourceId: "7", associatedData: new Uint8Array() };
export const OTHER_CONTEXT = { ...CONTEXT, resourceId: "8" };

let counter = 0;

/** What a test says about a key; the rest is filled in. */
type KeyInit = Pick<
  Exclude<MessageInitShape<typeof CreateKeyRequestSchema>, { readonly $typeName: string }>,
  "name" | "type" | "rotationPeriod" | "maxUses" | "expireTime" | "deletionAllowed"
>;

export async function createKey(
  { keys }: Replica,
  caller: Session,
  init: KeyInit = {},
): Promise<Key & { readonly name: string }> {
  const name = init.name ?? `key-${++counter}`;
  const { key } = await keys.createKey({ requestId: requestId(), name, ...init }, caller);
  if (key === undefined) throw new Error("no key was returned");
  return key;
}

export const createPlainKey = (replica: Replica, caller: Session) =>
  createKey(replica, caller, { type: KeyType.PLAIN_GCM });

export async function encrypt(
  { transit }: Replica,
  caller: Session,
  keyName: string,
  text = "a secret",
): Promise<string> {
  const plaintext = Buffer.from(text);
  const { ciphertext } = await transit.encrypt({ keyName, plaintext, context: CONTEXT }, caller);
  return ciphertext;
}

export async function decrypt(
  { transit }: Replica,
  caller: Session,
  keyName: string,
  ciphertext: string,
): Promise<string> {
  const { plaintext } = await transit.decrypt({ keyName, ciphertext, context: CONTEXT }, caller);
  return Buffer.from(plaintext).toString();
}

/** The text of an item that went well. */
export function textOf({
  outcome: { value },
}: {
  readonly outcome: { readonly value?: unknown };
}): string {
  return typeof value === "string" ? value : "";
}
