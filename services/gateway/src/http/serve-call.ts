import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import {
  admitCall,
  type CallAuditor,
  type CallOptions,
  clientAddressMetadata,
  DEADLINE_MARGIN_MS,
  type Principal,
  startServerSpan,
  type TokenVerifier,
  toPublicError,
} from "@nexus/rpc";
import { addressOfPeer, type Logger, NexusError } from "@nexus/shared";
import type { Upstream } from "../domain/routes.ts";
import type { GatewayEvents } from "../events.ts";
import type { RateLimits } from "../relay/rate-limits.ts";
import { toCallerError } from "../relay/upstream-error.ts";
import { toConnectError } from "./connect-errors.ts";

/** What every HTTP call goes through, in this order: trace, count, token and scope, rate. */
export interface HttpGuard {
  readonly verifier: TokenVerifier;
  /** Enters who was not let in. */
  readonly auditor: CallAuditor;
  readonly limits: RateLimits;
  readonly events: GatewayEvents;
  readonly logger: Logger;
  /** Aborts when the service begins to shut down. */
  readonly shutdown: AbortSignal;
  /** Time a unary call gets that brings none, in milliseconds. */
  readonly requestTimeoutMs: number;
}

/** One method on the HTTP port. `upstream` is undefined for what the gateway answers itself. */
export interface HttpMethod {
  readonly method: DescMethod;
  readonly upstream: Upstream | undefined;
}

/** One HTTP call that is being served. */
export interface ServedCall {
  /** Lets the call in and makes it; `make` gets what to pass on. */
  run<T>(make: (options: CallOptions) => T): Promise<T>;
  /** Says that something of a stream came. */
  answered(): void;
  /** Returns what the caller gets for an error. */
  fail(thrown: unknown): Error;
  /** Says that the call is over; without an error it went well. Idempotent, and called by the caller's leaving. */
  end(error?: unknown): void;
}

/** Begins to serve a call. `peer` is where it comes from, `address:port`. */
export function serveCall(
  guard: HttpGuard,
  { method, upstream }: HttpMethod,
  context: HandlerContext,
  peer: string,
): ServedCall {
  const isStream = method.methodKind !== "unary";
  const span = startServerSpan(method, (name) => context.requestHeader.get(name) ?? undefined);
  const ended = endSignal(context.signal, isStream ? guard.shutdown : undefined);
  const startedAtMs = performance.now();
  let over = false;
  let passedOn = false;
  let isAnswered = false;
  if (isStream && upstream !== undefined) guard.events.streamOpened(upstream);
  const call: ServedCall = {
    async run(make) {
      if (guard.shutdown.aborted) throw draining();
      const caller = await admit(guard, { method, context, peer, traceId: span.traceId });
      guard.limits.count(caller.principal, addressOfPeer(peer));
      passedOn = true;
      const timeoutMs = timeoutOf(context, isStream ? undefined : guard.requestTimeoutMs);
      const { signal } = ended;
      const metadata = clientAddressMetadata(peer);
      return make({ token: caller.token, signal, timeoutMs, traceContext: span.context, metadata });
    },
    answered() {
      isAnswered = true;
    },
    fail(thrown) {
      const { logger } = guard;
      const path = `/${method.parent.typeName}/${method.name}`;
      const isOver = ended.signal.aborted;
      const error = upstream === undefined ? thrown : toCallerError(thrown, upstream, isOver);
      const shown = toPublicError(error, { logger, traceId: span.traceId, method: path });
      call.end(shown);
      return toConnectError(shown);
    },
    end(error) {
      if (over) return;
      over = true;
      ended.release();
      span.end(error);
      if (upstream === undefined) return;
      if (isStream) guard.events.streamClosed(upstream);
      // Who was not let in was not served, well or badly; on the gRPC port it is not counted either.
      if (!passedOn) return;
      if (isStream) guard.events.streamEnded(upstream, error, isAnswered);
      else guard.events.callEnded(upstream, error, performance.now() - startedAtMs);
    },
  };
  // A caller that stops reading is never written to again, so its stream's own end may never be reached.
  if (context.signal.aborted) call.end(reasonOf(context.signal));
  else context.signal.addEventListener("abort", () => call.end(reasonOf(context.signal)));
  return call;
}

interface Arrival {
  readonly method: DescMethod;
  readonly context: HandlerContext;
  readonly peer: string;
  readonly traceId: string | undefined;
}

/** Lets a caller in, or enters into the audit log that it was not. Errors: those of admitCall(). */
async function admit(
  { verifier, auditor }: HttpGuard,
  { method, context, peer, traceId }: Arrival,
) {
  const authorization = context.requestHeader.get("authorization") ?? undefined;
  let principal: Principal | undefined;
  const onIdentified = (found: Principal | undefined) => {
    principal = found;
  };
  try {
    return await admitCall({ method, authorization, verifier, onIdentified });
  } catch (error) {
    const ctx = { method, peer, principal };
    const nothing = () => undefined;
    const record = auditor.begin({ ctx, traceId, request: nothing, answer: nothing });
    await record.refused(NexusError.from(error), false);
    throw error;
  }
}

/** A signal that aborts with the caller's, and for streams with the shutdown, each with its own reason. */
function endSignal(caller: AbortSignal, shutdown: AbortSignal | undefined) {
  const controller = new AbortController();
  const onCaller = () => controller.abort(reasonOf(caller));
  const onShutdown = () => controller.abort(draining());
  if (caller.aborted) onCaller();
  caller.addEventListener("abort", onCaller, { once: true });
  shutdown?.addEventListener("abort", onShutdown, { once: true });
  return {
    signal: controller.signal,
    release: () => shutdown?.removeEventListener("abort", onShutdown),
  };
}

/** The owner gets a little less time than the caller gives, so that its answer arrives before the caller's clock
 * runs out. */
function timeoutOf(context: HandlerContext, defaultMs: number | undefined): number | undefined {
  const givenMs = context.timeoutMs();
  if (givenMs === undefined) return defaultMs;
  return Math.max(0, givenMs - Math.min(DEADLINE_MARGIN_MS, givenMs / 10));
}

/** The library aborts a call when its caller leaves, and when the time that the caller gave is over. */
function reasonOf(signal: AbortSignal): NexusError {
  if (signal.reason instanceof ConnectError && signal.reason.code === Code.DeadlineExceeded) {
    const message = "The deadline of the call passed before its answer was ready.";
    return new NexusError({ kind: "deadline", reason: "DEADLINE_EXCEEDED", message });
  }
  return new NexusError({ kind: "cancelled", reason: "CANCELLED", message: "The client left." });
}

function draining(): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "SERVER_DRAINING",
    message: "The server is shutting down; connect again.",
  });
}
