import { KmsService } from "@nexus/proto/kms";
import type { RpcChannel, RpcClient } from "@nexus/rpc";
import { createRpcClient } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import { rootKeyUnreachable } from "../domain/errors.ts";
import type { RootKeyProvider, RootKeys } from "../domain/root-key.ts";

/** One question to the KMS may take this long; an HSM behind it is not fast. */
const KMS_TIMEOUT_MS = 5_000;

/** A root key that never leaves a KMS: a sidecar wraps and unwraps. Asks it once, so that an unreachable KMS is noticed
 * before anything is opened. Errors: unavailable/ROOT_KEY_UNREACHABLE, here and from each call. */
export function kmsRootKeys(channel: RpcChannel): RootKeyProvider {
  const kms = createRpcClient(KmsService, channel, { timeoutMs: KMS_TIMEOUT_MS });
  return async () => {
    const keys = createKmsRootKeys(kms);
    await keys.currentId();
    return keys;
  };
}

function createKmsRootKeys(kms: RpcClient<typeof KmsService>): RootKeys {
  return {
    source: "kms",
    currentId: () => reach(async () => (await kms.describeKey({})).keyId),
    wrap: (place, secret) =>
      reach(async () => {
        const { keyId, wrappedKey } = await kms.wrapKey({ plaintextKey: secret, context: place });
        return { rootKeyId: keyId, box: Buffer.from(wrappedKey) };
      }),
    unwrap: (place, { rootKeyId, box }) =>
      reach(async () => {
        try {
          const request = { keyId: rootKeyId, wrappedKey: box, context: place };
          return Buffer.from((await kms.unwrapKey(request)).plaintextKey);
        } catch (error) {
          if (isRefusal(error)) return undefined;
          throw error;
        }
      }),
    // The key is not here; the channel is the frame's to close.
    close() {},
  };
}

/** The KMS answered, and the answer is that the box is not its own. */
function isRefusal(error: unknown): boolean {
  return NexusError.is(error, "not_found") || NexusError.is(error, "invalid");
}

async function reach<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw rootKeyUnreachable(error);
  }
}
