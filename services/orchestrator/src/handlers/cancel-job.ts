import type { JobService } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { isJobId } from "../domain/public-ids.ts";
import { toStorableText } from "../domain/settlement.ts";
import { jobNotFound } from "../engine/canceller.ts";
import { hashBody } from "./body-hash.ts";
import { fromJob } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";

/** Serves CancelJob. */
export function createCancelJob({
  engine,
}: HandlerDeps): MethodImplementation<typeof JobService.method.cancelJob> {
  return async ({ jobId, reason, requestId }, ctx) => {
    engine.assertServing();
    if (!isJobId(jobId)) throw jobNotFound();
    const { namespace, principalId } = requirePrincipal(ctx);
    const job = await engine.cancel({
      namespace,
      principalId,
      requestId: toStorableText(requestId),
      bodyHash: hashBody({ jobId, reason }),
      jobId,
      reason,
    });
    return { job: fromJob(job) };
  };
}
