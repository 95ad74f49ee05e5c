import { durationMs } from "@bufbuild/protobuf/wkt";
import { LeaseService } from "@nexus/proto/orchestrator";
import { createRpcClient, type RpcChannel, type TokenSource } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import { leaseUnverified } from "../domain/secrets/secret-errors.ts";
import type { TaskLeases } from "../domain/secrets/task-fence.ts";

/** One question, its repetitions included: the contract promises an answer within two seconds. */
const CHECK_TIMEOUT_MS = 1_500;

/** Asks the orchestrator. The channel connects at the first question, so vault starts without it. */
export function createTaskLeases(channel: RpcChannel, tokens: TokenSource): TaskLeases {
  const client = createRpcClient(LeaseService, channel, { tokens, timeoutMs: CHECK_TIMEOUT_MS });
  return {
    async check({ namespace, taskId, fence, principalId: agentId }) {
      try {
        const { verdicts } = await client.check({
          claims: [{ namespace, taskId, fence, agentId }],
        });
        const [verdict] = verdicts;
        if (verdict === undefined) throw new Error("The orchestrator judged no claim.");
        const { valid, reason, cacheFor } = verdict;
        return { valid, reason, cacheForMs: cacheFor === undefined ? 0 : durationMs(cacheFor) };
      } catch (error) {
        // Vault itself cannot sign the token for the question, and could open no value either.
        if (NexusError.is(error, "precondition", "VAULT_SEALED")) throw error;
        // Whatever else is wrong, nobody vouches for the claim.
        throw leaseUnverified(error);
      }
    },
  };
}
