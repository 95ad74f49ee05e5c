import { SecretService } from "@nexus/proto/vault";
import { createRpcClient, type RpcChannel, type TokenSource } from "@nexus/rpc/client";
import type { SecretOptions, TaskSecret } from "./task-context.ts";

/** One read, its repetitions included. */
const READ_TIMEOUT_MS = 10_000;

/** A task in whose name a secret is read. */
export interface ReadingTask {
  readonly taskId: string;
  readonly fence: bigint;
  /** Aborts when the lease is over. */
  readonly signal: AbortSignal;
}

/** Reads secrets for tasks. */
export type ReadSecret = (
  task: ReadingTask,
  path: string,
  options?: SecretOptions,
) => Promise<TaskSecret>;

/** Creates what reads secrets through the gateway, as the agent and with the fence of the task. */
export function createSecretReader(channel: RpcChannel, tokens: TokenSource): ReadSecret {
  const client = createRpcClient(SecretService, channel, {
    tokens,
    timeoutMs: READ_TIMEOUT_MS,
    attemptsMax: Number.POSITIVE_INFINITY,
  });
  return async ({ taskId, fence, signal }, path, { version = 0 } = {}) => {
    signal.throwIfAborted();
    try {
      const task = { taskId, fence };
      const found = await client.getSecret({ path, version, task }, { signal });
      return toSecret(path, found);
    } catch (error) {
      // The lease ended while vault was asked: that is what the handler has to know.
      signal.throwIfAborted();
      throw error;
    }
  };
}

/** The value is behind functions, so that a secret in a log line or a result shows its path and version only. */
function toSecret(
  path: string,
  found: {
    readonly value: Uint8Array;
    readonly version?: { readonly version: number } | undefined;
    readonly latestVersion: number;
  },
): TaskSecret {
  const { value, latestVersion } = found;
  return {
    path,
    version: found.version?.version ?? latestVersion,
    latestVersion,
    bytes: () => value,
    text: () => new TextDecoder().decode(value),
  };
}
