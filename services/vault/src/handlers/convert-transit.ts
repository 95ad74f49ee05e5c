import type { MessageInitShape } from "@bufbuild/protobuf";
import { type EncryptionContext, HashAlgorithm, type ItemErrorSchema } from "@nexus/proto/vault";
import type { CallContext } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import type { NexusError } from "@nexus/shared";
import { MiB } from "@nexus/shared";
import { invalidField } from "../domain/errors.ts";
import type { KeyName } from "../domain/keys/named-key.ts";
import type { ResourceContext } from "../domain/transit-context.ts";
import type { HashAlgorithm as DomainAlgorithm, ItemResult } from "../domain/transit-engine.ts";

/** Most bytes of a batch, so that the answer fits into a message as well. */
export const BATCH_BYTES_MAX = 2 * MiB;

const ALGORITHMS: Readonly<Record<HashAlgorithm, DomainAlgorithm>> = {
  [HashAlgorithm.UNSPECIFIED]: "sha256",
  [HashAlgorithm.SHA256]: "sha256",
  [HashAlgorithm.SHA384]: "sha384",
  [HashAlgorithm.SHA512]: "sha512",
};

/** A hash function from the wire. */
export function fromHashAlgorithm(algorithm: HashAlgorithm): DomainAlgorithm {
  return ALGORITHMS[algorithm];
}

/** The key that a request names, in the caller's namespace and no other. */
export function keyNameOf(ctx: CallContext, keyName: string): KeyName {
  return { namespace: requirePrincipal(ctx).namespace, name: keyName };
}

/** A context from the wire; the contract's rules make it present. */
export function fromContext(context: EncryptionContext | undefined): ResourceContext {
  const { resourceType = "", resourceId = "", associatedData = new Uint8Array() } = context ?? {};
  return { resourceType, resourceId, associatedData };
}

/** Items of a batch with their contexts. */
export function fromItems<I extends { readonly context?: EncryptionContext | undefined }>(
  items: readonly I[],
): (Omit<I, "context"> & { readonly context: ResourceContext })[] {
  return items.map((item) => ({ ...item, context: fromContext(item.context) }));
}

/** Refuses a batch that is too large together. Errors: invalid/REQUEST_INVALID. */
export function assertBatchSize(sizes: readonly number[]): void {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total > BATCH_BYTES_MAX) {
    throw invalidField("items", `must have at most ${BATCH_BYTES_MAX} bytes together`);
  }
}

/** The error of one item to the wire. */
export function toItemError(error: NexusError): MessageInitShape<typeof ItemErrorSchema> {
  const { kind, reason, message } = error;
  return { kind, reason, message };
}

/** The only result of a batch of one, or its error. */
export function onlyResult<T>(results: readonly ItemResult<T>[]): T {
  const [result] = results;
  if (result === undefined) throw new Error("A batch of one has no result.");
  if ("error" in result) throw result.error;
  return result.value;
}

/** Adds what a batch did to its entry: the versions of the key that it used, and how many items failed. One entry for a
 * batch, not one for each item: whoever needs to know of each calls for each. */
export function noteItems(ctx: CallContext, versions: readonly number[], failed = 0): void {
  const used = [...new Set(versions)].sort((a, b) => a - b).join(" ");
  ctx.audit?.note({
    fields: {
      ...(used === "" ? {} : { key_versions: used }),
      ...(failed === 0 ? {} : { failed_items: String(failed) }),
    },
  });
}

/** As noteItems(), of results that each say their version. */
export function noteResults(
  ctx: CallContext,
  results: readonly ItemResult<{ readonly keyVersion: number }>[],
): void {
  const versions = results.flatMap((result) =>
    "error" in result ? [] : [result.value.keyVersion],
  );
  noteItems(ctx, versions, results.length - versions.length);
}
