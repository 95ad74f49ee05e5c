import type { Namespace } from "@nexus/shared";
import { canonical } from "./crypto/canonical.ts";
import type { KeyType } from "./keys/named-key.ts";

/** What the caller says a ciphertext belongs to. */
export interface ResourceContext {
  readonly resourceType: string;
  readonly resourceId: string;
  readonly associatedData: Uint8Array;
}

/** Composes what a ciphertext is bound to. The caller gives the resource; format, namespace, key and version are vault's
 * own knowledge, so nobody can ask for another tenant's. Each part stands behind its length: no two contexts are equal. */
export function transitContext(
  key: { readonly type: KeyType; readonly namespace: Namespace; readonly keyId: string },
  version: number,
  { resourceType, resourceId, associatedData }: ResourceContext,
): Buffer {
  const { type, namespace, keyId } = key;
  const resource = [resourceType, resourceId, associatedData];
  return canonical("nexus/transit-context/v1", type, namespace, keyId, version, ...resource);
}
