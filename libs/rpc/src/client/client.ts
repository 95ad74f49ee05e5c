import type {
  DescMessage,
  DescMethod,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { ERROR_KINDS, type Logger, NexusError } from "@nexus/shared";
import { type Context, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { DEFAULT_CLIENT_TIMEOUT_MS, MAX_ATTEMPTS } from "../limits.ts";
import type { TokenSource } from "../principal.ts";
import type { RpcClient } from "../service-types.ts";
import {
  decodeResponse,
  encode,
  isRequestStream,
  isResponseStream,
  methodPath,
} from "../wire/codec.ts";
import { type CallOptions, traceContextOf } from "./call-options.ts";
import type { RpcChannel } from "./channel.ts";
import { deadlineOf, prepareCall } from "./outgoing.ts";
import { rawUnary } from "./raw-client.ts";
import { isIdempotent, isRateLimited, isUnavailable, withRetry } from "./retry.ts";
import { openStream } from "./stream-call.ts";
import { withWiderToken } from "./wider-token.ts";

/** As in @nexus/telemetry, which a process that only calls does not load. */
const TRACER_NAME = "nexus";

/** How a client's calls behave unless a call says otherwise. */
export interface RpcClientOptions {
  /** Whom the client acts for; absent: calls carry a token only when given one. */
  readonly tokens?: TokenSource | undefined;
  /** Timeout of unary calls in milliseconds, default 10 000. Streams have none. */
  readonly timeoutMs?: number | undefined;
  /** How often a call is made in all that meets UNAVAILABLE and may be repeated, default MAX_ATTEMPTS. Infinity: while its time lasts, for
   * programs that live through the restart of a service; a person rather hears of it at once. */
  readonly attemptsMax?: number | undefined;
  /** Repeats, too, what was refused for its caller's rate (RATE_LIMITED), after the wait that the refusal names if there is time for it.
   * Default false: a program had better make fewer calls, a command of a person has none to save. */
  readonly waitsForRate?: boolean | undefined;
  /** Gets a debug line for each repeated attempt. */
  readonly logger?: Logger | undefined;
}

/** Creates the typed client of a service. Cheap: share the channel, not the client.
 *
 * Errors: every failure is a NexusError with the kind and reason that the first failing service gave it. */
export function createRpcClient<S extends DescService>(
  desc: S,
  channel: RpcChannel,
  options: RpcClientOptions = {},
): RpcClient<S> {
  const client: Record<string, unknown> = {};
  for (const method of desc.methods) {
    client[method.localName] = clientMethod({ ...options, method, channel });
  }
  return client as RpcClient<S>;
}

type Init = MessageInitShape<DescMessage>;

/** What one method of a client is built from. */
interface ClientMethodSpec extends RpcClientOptions {
  readonly method: DescMethod;
  readonly channel: RpcChannel;
}

function clientMethod(spec: ClientMethodSpec): unknown {
  const { method } = spec;
  if (!isRequestStream(method) && !isResponseStream(method)) {
    return (request: Init, options?: CallOptions) => callUnary(spec, request, options);
  }
  if (!isResponseStream(method)) {
    return (requests: AsyncIterable<Init>, options?: CallOptions) =>
      callClientStream(spec, requests, options);
  }
  return (requests: Init | AsyncIterable<Init>, options?: CallOptions) =>
    callStream(spec, requests, options);
}

async function callUnary(spec: ClientMethodSpec, request: Init, options: CallOptions = {}) {
  const { method, channel, tokens } = spec;
  const bytes = encode(method.input, request);
  const deadlineAtMs = deadlineOf(options, spec.timeoutMs ?? DEFAULT_CLIENT_TIMEOUT_MS);
  const path = methodPath(method);
  return inClientSpan(method, traceContextOf(options), async (traceContext) => {
    const attempt = () => {
      const timeoutMs = deadlineAtMs === undefined ? undefined : deadlineAtMs - Date.now();
      return rawUnary(channel, path, bytes, { ...options, tokens, timeoutMs, traceContext });
    };
    const isRepeated = repeatedBy(spec);
    const call = () =>
      isRepeated === undefined
        ? attempt()
        : withRetry({ attempt, deadlineAtMs, options, isRepeated, ...retryOf(spec), path });
    // A token that the call brings itself is no other one the second time.
    const response = await withWiderToken(options.token === undefined ? tokens : undefined, call);
    return decodeResponse(method.output, response);
  });
}

/** Which errors a call of the method is repeated for; undefined: none. */
function repeatedBy({ method, waitsForRate = false }: ClientMethodSpec) {
  if (!isIdempotent(method)) return waitsForRate ? isRateLimited : undefined;
  if (!waitsForRate) return isUnavailable;
  return (error: NexusError) => isUnavailable(error) || isRateLimited(error);
}

function retryOf({ logger, attemptsMax = MAX_ATTEMPTS }: ClientMethodSpec) {
  return { logger, attemptsMax };
}

async function callClientStream(
  spec: ClientMethodSpec,
  requests: AsyncIterable<Init>,
  options?: CallOptions,
) {
  for await (const response of callStream(spec, requests, options)) return response;
  throw new NexusError({
    kind: "internal",
    reason: "PROTOCOL_ERROR",
    message: "The server answered OK without a message.",
  });
}

function callStream(
  { method, channel, tokens }: ClientMethodSpec,
  requests: Init | AsyncIterable<Init>,
  options: CallOptions = {},
): AsyncIterableIterator<MessageShape<DescMessage>> {
  const parent = traceContextOf(options);
  const span = startSpan(method, parent);
  const traceContext = trace.setSpan(parent, span);
  const input = isRequestStream(method)
    ? new EncodedRequests(method.input, requests as AsyncIterable<Init>)
    : encode(method.input, requests as Init);
  return openStream({
    channel,
    method,
    requests: input,
    outgoing: prepareCall({ ...options, tokens, traceContext }, deadlineOf(options)),
    parse: (bytes) => decodeResponse(method.output, bytes),
    onEnd(error) {
      if (error !== undefined) markFailed(span, error);
      span.end();
    },
  });
}

/** Encodes requests as they are asked for; a class and not a generator, so that return() reaches a source that
 * waits in next(). */
class EncodedRequests implements AsyncIterable<Buffer> {
  readonly #schema: DescMessage;
  readonly #source: AsyncIterable<Init>;

  constructor(schema: DescMessage, source: AsyncIterable<Init>) {
    this.#schema = schema;
    this.#source = source;
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer, undefined> {
    const iterator = this.#source[Symbol.asyncIterator]();
    return {
      next: async () => {
        const step = await iterator.next();
        if (step.done === true) return { value: undefined, done: true };
        return { value: encode(this.#schema, step.value), done: false };
      },
      return: async () => {
        await iterator.return?.();
        return { value: undefined, done: true };
      },
    };
  }
}

async function inClientSpan<T>(
  method: DescMethod,
  parent: Context,
  fn: (inSpan: Context) => Promise<T>,
): Promise<T> {
  const span = startSpan(method, parent);
  try {
    return await fn(trace.setSpan(parent, span));
  } catch (error) {
    markFailed(span, error);
    throw error;
  } finally {
    span.end();
  }
}

function startSpan(method: DescMethod, parent: Context): Span {
  const attributes = {
    "rpc.system": "grpc",
    "rpc.service": method.parent.typeName,
    "rpc.method": method.name,
  };
  const options = { kind: SpanKind.CLIENT, attributes };
  return trace.getTracer(TRACER_NAME).startSpan(methodPath(method).slice(1), options, parent);
}

function markFailed(span: Span, thrown: unknown): void {
  const error = NexusError.from(thrown);
  span.setAttribute("rpc.grpc.status_code", ERROR_KINDS[error.kind].grpcCode);
  span.setStatus({ code: SpanStatusCode.ERROR, message: error.reason });
}
