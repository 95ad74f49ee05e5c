import type { DescMethod } from "@bufbuild/protobuf";
import {
  DEADLINE_MARGIN_MS,
  type RawCall,
  type RawCallOptions,
  type RawRelay,
  type RpcChannel,
  rawStream,
  rawUnary,
  relayOptions,
} from "@nexus/rpc";
import { addressOfPeer, NexusError } from "@nexus/shared";
import type { Upstream } from "../domain/routes.ts";
import type { GatewayEvents } from "../events.ts";
import type { RateLimits } from "./rate-limits.ts";
import { RelayedStream } from "./relayed-stream.ts";
import { toCallerError } from "./upstream-error.ts";

const CONNECT = "/nexus.mesh.v1.AgentSessionService/Connect";

/** How long an owner may go on answering a stream whose end was planned. Less than the server lets a stream linger. */
const LAST_ANSWERS_MS = 500;

/** What a relay needs. */
export interface RelayOptions {
  readonly upstream: Upstream;
  readonly channel: RpcChannel;
  readonly limits: RateLimits;
  readonly events: GatewayEvents;
}

/** Passes calls on as bytes to the service that owns the contract.
 *
 * The interceptors before it have authenticated and authorised the caller; the caller's own token, the trace and
 * where the call came from go along, and the owner checks again; no other header of the caller does. Payloads are never decoded: fields this
 * build does not know pass through unharmed, and so do the owner's errors with their details.
 * Errors: exhausted/RATE_LIMITED; unavailable/UNAVAILABLE when the owner cannot be reached; the owner's own. */
export function createRelay(options: RelayOptions): RawRelay {
  return (call) => {
    const { ctx, method } = call;
    options.limits.count(ctx.principal, addressOfPeer(ctx.peer));
    if (method.methodKind === "unary") return passUnary(call, options);
    const stream = passStream(call, options);
    return method.methodKind === "client_streaming" ? onlyAnswer(stream) : stream;
  };
}

async function passUnary(call: RawCall, { upstream, channel, events }: RelayOptions) {
  const { ctx, method } = call;
  const startedAtMs = performance.now();
  const tookMs = () => performance.now() - startedAtMs;
  try {
    const answer = await rawUnary(channel, pathOf(method), requestOf(call), relayOptions(ctx));
    events.callEnded(upstream, undefined, tookMs());
    return answer;
  } catch (thrown) {
    const error = toCallerError(thrown, upstream, ctx.signal.aborted);
    events.callEnded(upstream, error, tookMs());
    throw error;
  }
}

function passStream(call: RawCall, { upstream, channel, events }: RelayOptions): RelayedStream {
  const { ctx, method } = call;
  const requests = call.requests ?? requestOf(call);
  const source = rawStream(channel, method, requests, streamOptions(call));
  events.streamOpened(upstream);
  return new RelayedStream(source, {
    explain: (thrown) => toCallerError(thrown, upstream, ctx.signal.aborted),
    onEnd(error, isAnswered) {
      events.streamClosed(upstream);
      events.streamEnded(upstream, error ?? endOf(ctx.signal), isAnswered);
    },
  });
}

/** As relayOptions(); but an agent's stream whose end was planned ends in order: its router gets the end of the requests, and its last answers
 * are passed on. To any other owner the end of the requests means that they are whole. */
function streamOptions({ ctx, method }: RawCall): RawCallOptions {
  const options = relayOptions(ctx);
  if (pathOf(method) !== CONNECT) return options;
  const cut = new AbortController();
  const noMore = new AbortController();
  const onEnd = (): void => {
    const reason: unknown = ctx.signal.reason;
    if (!NexusError.isPlannedEnd(reason)) {
      cut.abort(reason);
      return;
    }
    noMore.abort(reason);
    setTimeout(() => cut.abort(reason), LAST_ANSWERS_MS).unref();
  };
  if (ctx.signal.aborted) onEnd();
  else ctx.signal.addEventListener("abort", onEnd, { once: true });
  const { deadlineAtMs, traceContext } = ctx;
  return {
    ...options,
    parent: undefined,
    traceContext,
    signal: cut.signal,
    noMoreRequests: noMore.signal,
    timeoutMs:
      deadlineAtMs === undefined ? undefined : deadlineAtMs - DEADLINE_MARGIN_MS - Date.now(),
  };
}

/** A caller that leaves ends the stream without an error; the signal knows why. */
function endOf(signal: AbortSignal): unknown {
  return signal.aborted ? signal.reason : undefined;
}

async function onlyAnswer(stream: RelayedStream): Promise<Buffer> {
  for await (const answer of stream) return answer;
  throw new NexusError({
    kind: "internal",
    reason: "PROTOCOL_ERROR",
    message: "The service answered OK without a message.",
  });
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function requestOf(call: RawCall): Buffer {
  return call.request ?? Buffer.alloc(0);
}
