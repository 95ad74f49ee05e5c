import type { DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import { NexusError } from "@nexus/shared";
import { assertScope } from "../admission.ts";
import type { CallContext } from "../call-context.ts";
import { startServerSpan } from "../interceptors/trace.ts";
import { parseRequest } from "../interceptors/validate.ts";
import type { MethodImplementation } from "../service-types.ts";
import { encode, methodPath } from "../wire/codec.ts";
import { planMethod } from "./method-plan.ts";

/** A call that came inside of another call's stream. */
export interface InnerCall {
  /** The request, encoded. */
  readonly request: Buffer;
  /** W3C `traceparent`; may be empty. */
  readonly traceparent: string;
  /** Epoch milliseconds. */
  readonly deadlineAtMs: number;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** Carries out a call that came inside of the stream whose context is given; resolves with the encoded answer.
 *
 * Errors: forbidden/SCOPE_MISSING by what the stream's principal holds now; invalid/REQUEST_MALFORMED,
 * invalid/REQUEST_INVALID; those of the method. */
export type InnerMethod = (ctx: CallContext, call: InnerCall) => Promise<Buffer>;

/** Serves a method inside of a stream by the handler that also serves its own calls: with its scope, its rules and a span of its own.
 *
 * Errors: a plain Error for a method that is entered in the audit log, that only services may call, or whose handler asks for
 * a resource: those need a call of their own. */
export function serveInside<M extends DescMethodUnary>(
  method: M,
  handler: MethodImplementation<M>,
): InnerMethod {
  const plan = planMethod(method, handler);
  if (plan.audited || plan.internal || plan.checksResource) {
    throw new Error(`${plan.path} needs a call of its own.`);
  }
  return async (ctx, call) => {
    const span = startServerSpan(method, (name) => headerOf(call, name));
    try {
      assertScope(ctx.principal, plan);
      const request = parseRequest(method.input, call.request);
      const inner = innerContext(ctx, method, call, span.context);
      const answer = await (handler as (request: unknown, ctx: CallContext) => unknown)(
        request,
        inner,
      );
      const bytes = encode(method.output, answer as MessageInitShape<M["output"]>);
      span.end();
      return bytes;
    } catch (error) {
      span.end(error);
      throw error;
    }
  };
}

function headerOf({ traceparent }: InnerCall, name: string): string | undefined {
  return name === "traceparent" && traceparent !== "" ? traceparent : undefined;
}

function innerContext(
  ctx: CallContext,
  method: DescMethodUnary,
  call: InnerCall,
  traceContext: CallContext["traceContext"],
): CallContext {
  const { service, principal, token, logger, peer } = ctx;
  return {
    service,
    method,
    metadata: { get: (name) => headerOf(call, name), getBinary: () => undefined },
    signal: call.signal,
    deadlineAtMs: call.deadlineAtMs,
    principal,
    token,
    traceContext,
    logger,
    audit: undefined,
    peer,
    reauthenticate: () => Promise.reject(noReauth(method)),
  };
}

function noReauth(method: DescMethodUnary): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "REAUTH_UNSUPPORTED",
    message: `${methodPath(method)} takes no token, so there is none to replace.`,
  });
}
