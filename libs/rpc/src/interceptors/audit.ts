import { NexusError } from "@nexus/shared";
import type { CallAuditor } from "../call-auditor.ts";
import type { Interceptor } from "../server/interceptor.ts";

/** Lets nothing of an audited call's answer out before its entry is durable, and enters refusals too: those of the caller's
 * token included, so it stands outside of authenticate.
 *
 * A method that is passed on to its owner is entered there. What is refused here never gets there, so that is entered
 * here, whatever the method. */
export function createAudit(auditor: CallAuditor | undefined): Interceptor {
  return async (call, next) => {
    const { plan, state } = call;
    if (auditor === undefined || !(plan.audited || plan.relayed)) return next();
    const record = auditor.begin({
      ctx: state,
      traceId: state.traceId,
      request: () => call.seen,
      answer: () => call.answer,
    });
    if (!plan.relayed) {
      state.audit = record;
      call.beforeAnswer = () => record.allowed();
    }
    try {
      await next();
    } catch (error) {
      const isTold = plan.relayed && call.reached === true;
      // What could not be written once cannot be written within the same deadline.
      const isUnwritable = NexusError.is(error, "unavailable", "AUDIT_UNAVAILABLE");
      if (!isTold && !isUnwritable) {
        await record.refused(NexusError.from(error), call.reached === true);
      }
      throw error;
    }
    if (!plan.relayed) await record.allowed();
  };
}
