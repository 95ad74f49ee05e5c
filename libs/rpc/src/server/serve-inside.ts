import type { DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import { Metadata } from "@grpc/grpc-js";
import type { Logger, NexusError } from "@nexus/shared";
import type { CallContext } from "../call-context.ts";
import { authorise } from "../interceptors/authorise.ts";
import { createEnforceDeadline } from "../interceptors/deadline.ts";
import { toPublicError } from "../interceptors/error-map.ts";
import { logCalls } from "../interceptors/log.ts";
import { traceCalls } from "../interceptors/trace.ts";
import { parseRequest } from "../interceptors/validate.ts";
import { DEFAULT_DEADLINE_MS } from "../limits.ts";
import type { MethodImplementation } from "../service-types.ts";
import { encode } from "../wire/codec.ts";
import { CallState } from "./call-state.ts";
import { composeInterceptors, type PlannedCall } from "./interceptor.ts";
import { type MethodPlan, planMethod } from "./method-plan.ts";

/** A call that came inside of another call's stream. */
export interface InnerCall {
  /** The request, encoded. */
  readonly request: Buffer;
  /** W3C `traceparent`; may be empty. */
  readonly traceparent: string;
  /** Epoch milliseconds. */
  readonly deadlineAtMs: number;
}

/** A call that is being served inside of a stream. */
export interface InnerServing {
  /** The encoded answer.
   *
   * Errors, as a caller may see them: forbidden/SCOPE_MISSING by what the stream's principal holds now;
   * invalid/REQUEST_MALFORMED, invalid/REQUEST_INVALID; deadline/DEADLINE_EXCEEDED; what end() says; those of the method. */
  readonly answer: Promise<Buffer>;
  /** Resolves when the handler has ended: later than the answer, where the deadline or end() overtook it. Never rejects. */
  readonly ended: Promise<void>;
  /** Ends it from outside: nobody waits for the handler's answer any more. */
  end(error: NexusError): void;
}

/** Carries out a call that came inside of the stream whose context is given. */
export type InnerMethod = (ctx: CallContext, call: InnerCall) => InnerServing;

interface InnerRun extends PlannedCall {
  readonly request: Buffer;
  bytes: Buffer;
  /** Set once the handler was called. */
  handled?: Promise<void>;
}

/** Those of a call of its own that need no transport, in the same order. */
const LAYERS = [traceCalls, logCalls, createEnforceDeadline(DEFAULT_DEADLINE_MS), authorise];
const NOTHING = Buffer.alloc(0);
const NO_METADATA = new Metadata();
/** Anything else would not pass as a header either. */
const TRACEPARENT = /^[\w-]+$/;

/** Serves a method inside of a stream by the handler that also serves its own calls: with its scope, its rules, and a span, a
 * deadline and a line in the log of its own.
 *
 * Errors: a plain Error for a method that is entered in the audit log, that only services or certain ones may call, or whose
 * handler asks for a resource: those need a call of their own. */
export function serveInside<M extends DescMethodUnary>(
  method: M,
  handler: MethodImplementation<M>,
  logger: Logger,
): InnerMethod {
  const plan = planMethod(method, handler);
  if (plan.audited || plan.internal || plan.checksResource || plan.callers.length > 0) {
    throw new Error(`${plan.path} needs a call of its own.`);
  }
  const run = composeInterceptors<InnerRun>(LAYERS, (call) => {
    call.handled = handle(method, call);
    return call.handled;
  });
  return (ctx, { request, ...inner }) => {
    const state = innerState(ctx, plan, { ...inner, logger });
    const call: InnerRun = { state, plan, request, bytes: NOTHING };
    const where = (): { logger: Logger; traceId: string | undefined; method: string } => ({
      logger,
      traceId: state.traceId,
      method: plan.path,
    });
    const answer = run(call).then(
      () => call.bytes,
      (error: unknown) => {
        throw toPublicError(error, where());
      },
    );
    const handled = (): Promise<void> | undefined => call.handled?.catch(() => undefined);
    return { answer, ended: answer.then(handled, handled), end: (error) => state.end(error) };
  };
}

async function handle<M extends DescMethodUnary>(method: M, call: InnerRun): Promise<void> {
  const { state, plan, request } = call;
  const answer = await plan.handler(parseRequest(method.input, request) as never, state as never);
  call.bytes = encode(method.output, answer as MessageInitShape<M["output"]>);
  // A handler that returns because it was told to stop did not succeed.
  if (state.endError !== undefined) throw state.endError;
}

function innerState(
  { service, peer, principal, token }: CallContext,
  plan: MethodPlan,
  { traceparent, deadlineAtMs, logger }: Omit<InnerCall, "request"> & { readonly logger: Logger },
): CallState {
  const metadata = TRACEPARENT.test(traceparent) ? new Metadata() : NO_METADATA;
  if (metadata !== NO_METADATA) metadata.set("traceparent", traceparent);
  const state = new CallState({ service, plan, metadata, deadlineAtMs, peer, logger });
  state.principal = principal;
  state.token = token;
  return state;
}
