import { AuditLogService } from "@nexus/proto/vault";
import { createRpcClient, type RpcChannel, type TokenSource } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import type { WitnessedLog } from "../domain/witness.ts";

/** A checkpoint that takes longer is asked for again. */
const TIMEOUT_MS = 5000;

/** The audit log, over vault's own port: what stands between could show another log. */
export function createAuditLogClient(channel: RpcChannel, tokens: TokenSource): WitnessedLog {
  const client = createRpcClient(AuditLogService, channel, { tokens, timeoutMs: TIMEOUT_MS });
  return {
    async latest() {
      try {
        const { checkpoint, key } = await client.getCheckpoint({});
        return { note: checkpoint, key };
      } catch (error) {
        if (NexusError.is(error, "precondition", "AUDIT_EMPTY")) return "empty";
        // Sealed: then nothing is signed either.
        if (NexusError.is(error, "precondition")) return undefined;
        throw error;
      }
    },
    async consistencyProof(firstSize, secondSize) {
      const sizes = { firstSize: BigInt(firstSize), secondSize: BigInt(secondSize) };
      return (await client.getConsistencyProof(sizes)).proof;
    },
  };
}
