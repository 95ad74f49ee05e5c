import { durationMs } from "@bufbuild/protobuf/wkt";
import { LeaseService } from "@nexus/proto/orchestrator";
import { createRpcClient, type RpcChannel, type TokenSource } from "@nexus/rpc";
import { createBatcher } from "@nexus/shared";
import type { LeaseAnswer, LeaseClaim, LeasePort } from "../domain/message/lease-gate.ts";

/** The orchestrator answers from memory; who does not get an answer has to refuse. */
const CHECK_TIMEOUT_MS = 1_000;
/** The contract's limit. */
const CLAIMS_MAX = 512;
const QUEUED_MAX = 20_000;
const IN_FLIGHT_MAX = 4;

/** Creates the client of the orchestrator's LeaseService. Claims of one moment share a call. */
export function createLeaseClient(init: {
  readonly channel: RpcChannel;
  readonly tokens: TokenSource;
}): LeasePort & { close(): Promise<void> } {
  const client = createRpcClient(LeaseService, init.channel, {
    tokens: init.tokens,
    timeoutMs: CHECK_TIMEOUT_MS,
  });
  const claims = createBatcher<LeaseClaim, LeaseAnswer>({
    name: "lease check",
    maxItems: CLAIMS_MAX,
    maxDelayMs: 0,
    maxQueued: QUEUED_MAX,
    concurrency: IN_FLIGHT_MAX,
    flush: async (batch) => {
      const { verdicts } = await client.check({ claims: batch });
      return verdicts.map(({ valid, reason, cacheFor }) => ({
        valid,
        reason,
        cacheForMs: cacheFor === undefined ? 0 : durationMs(cacheFor),
      }));
    },
  });
  return { check: (claim) => claims.add(claim), close: () => claims.close() };
}
