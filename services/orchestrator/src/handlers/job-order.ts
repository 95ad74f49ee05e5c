/** Reads what all mutations of one job have in common. */
import { type CallContext, requirePrincipal } from "@nexus/rpc";
import { isJobId } from "../domain/public-ids.ts";
import { toStorableText } from "../domain/settlement.ts";
import { jobNotFound } from "../engine/canceller.ts";
import type { JobOrder } from "../engine/recorded-request.ts";
import { hashBody } from "./body-hash.ts";

/** Turns a request on one job into an order; `rest` is what else its body says, by which a repeat is known.
 *
 * Errors: not_found/JOB_NOT_FOUND for what cannot be a job's id. */
export function toJobOrder(
  { jobId, requestId }: { readonly jobId: string; readonly requestId: string },
  ctx: CallContext,
  rest: Readonly<Record<string, string>> = {},
): JobOrder {
  if (!isJobId(jobId)) throw jobNotFound();
  const { namespace, principalId } = requirePrincipal(ctx);
  return {
    namespace,
    principalId,
    requestId: toStorableText(requestId),
    bodyHash: hashBody({ jobId, ...rest }),
    jobId,
    leaf: ctx.audit,
  };
}
