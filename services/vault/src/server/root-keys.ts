import { createRpcChannel } from "@nexus/rpc";
import type { ServiceFrame } from "@nexus/runtime";
import { processIdentity } from "@nexus/shared";
import { kmsRootKeys } from "../clients/kms-root-keys.ts";
import { isLocalKms } from "../config/key-fields.ts";
import type { VaultConfig } from "../config.ts";
import type { RootKeyProvider } from "../domain/root-key.ts";
import { environmentRootKeys, fileRootKeys } from "../root/providers.ts";
import { readRootKeyFile } from "../root/root-key-file.ts";

/** The configured way to the root key; undefined when there is none, and vault starts sealed. */
export function rootKeyProvider(
  frame: ServiceFrame,
  config: VaultConfig,
): RootKeyProvider | undefined {
  const { rootKey, rootKeyPrevious, rootKeyFile, rootKeyPreviousFile, kmsEndpoint } = config;
  if (rootKey !== undefined) return environmentRootKeys(rootKey, rootKeyPrevious);
  if (rootKeyFile !== undefined) {
    return fileRootKeys({ current: rootKeyFile, previous: rootKeyPreviousFile }, processIdentity());
  }
  return kmsEndpoint === undefined ? undefined : kmsRootKeys(kmsChannel(frame, kmsEndpoint));
}

/** The private recovery key, read anew for each restore. */
export function recoveryKeyReader(config: VaultConfig): () => Promise<Buffer | undefined> {
  const { recoveryKeyFile } = config;
  return async () =>
    recoveryKeyFile === undefined ? undefined : readRootKeyFile(recoveryKeyFile, processIdentity());
}

/** A sidecar on this machine is called in the clear: its socket is the fence. */
function kmsChannel(frame: ServiceFrame, endpoint: string) {
  if (!isLocalKms(endpoint)) return frame.channel(endpoint, undefined);
  const channel = createRpcChannel({ address: endpoint });
  frame.defer("channel to the KMS", () => channel.close());
  return channel;
}
