/** The orchestrator as vault sees it: its contract over gRPC, with vault's own keys to check vault's own token. */
import { createLocalTokenVerifier, createRevocationSet, importJwks } from "@nexus/identity";
import { type LeaseClaim, LeaseService } from "@nexus/proto/orchestrator";
import { createRpcServer } from "@nexus/rpc";
import { createSilentLogger } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import type { Replica } from "./_helpers.ts";

/** What a test does to the orchestrator. */
export interface TestOrchestrator {
  /** Every claim that it was asked about. */
  readonly claims: LeaseClaim[];
  /** Who holds which task, by `<task>/<fence>`. */
  readonly holders: Map<string, string>;
  /** It takes questions and answers none while true. */
  silent: boolean;
  close(): Promise<void>;
}

/** Starts it on a port of loopback. Its answers may not be kept, so that a test need not wait. */
export async function startOrchestrator(port: number, vault: Replica): Promise<TestOrchestrator> {
  const keys = await importJwks((await vault.auth.getJwks({})).jwksJson);
  const server = createRpcServer({
    service: "test-orchestrator",
    host: "127.0.0.1",
    port,
    logger: createSilentLogger(),
    metrics: createMetrics("test-orchestrator"),
    verifier: createLocalTokenVerifier({
      keys: { epoch: 0, find: async (kid) => keys.get(kid) },
      revocations: createRevocationSet(),
    }),
  });
  const orchestrator: TestOrchestrator = {
    claims: [],
    holders: new Map(),
    silent: false,
    close: () => server.close(0),
  };
  server.add(LeaseService, {
    async check({ claims }, ctx) {
      orchestrator.claims.push(...claims);
      if (orchestrator.silent) {
        await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      }
      return { verdicts: claims.map((claim) => judge(orchestrator.holders, claim)) };
    },
  });
  await server.listen();
  return orchestrator;
}

function judge(holders: ReadonlyMap<string, string>, { taskId, fence, agentId }: LeaseClaim) {
  const holder = holders.get(`${taskId}/${fence}`);
  if (holder === undefined) return { valid: false, reason: "LEASE_LOST" };
  return holder === agentId ? { valid: true, agentId } : { valid: false, reason: "NOT_HOLDER" };
}
