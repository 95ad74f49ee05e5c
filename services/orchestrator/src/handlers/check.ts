import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { LeaseService } from "@nexus/proto/orchestrator";
import type { MethodImplementation } from "@nexus/rpc";
import type { HandlerDeps } from "./deps.ts";

/** Serves LeaseService.Check. The contract is internal, so only services come here, and they ask for every namespace. */
export function createCheck({
  engine,
}: Pick<HandlerDeps, "engine">): MethodImplementation<typeof LeaseService.method.check> {
  return async ({ claims }) => {
    const verdicts = await engine.leases.check(claims);
    return {
      verdicts: verdicts.map(({ reason, cacheForMs, agentId, jobId }) => ({
        valid: reason === undefined,
        reason: reason ?? "",
        cacheFor: durationFromMs(cacheForMs),
        agentId,
        jobId,
      })),
    };
  };
}
