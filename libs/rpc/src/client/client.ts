import type {
  DescMessage,
  DescMethod,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { context, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { ERROR_KINDS, NexusError, type Logger } from "@nexus/shared";
import { DEFAULT_CLIENT_TIMEOUT_MS } from "../limits.ts";
import type { TokenSource } from "../principal.ts";
import type { RpcClient } from "../service-types.ts";
import {
  decodeResponse,
  encode,
  isRequestStream,
  isResponseStream,
  methodPath,
} from "../wire/codec.ts";
import type { CallOptions } from "./call-options.ts";
import type { RpcChannel } from "./channel.ts";
import { deadlineOf } from "./outgoing.ts";
import { rawStream, rawUnary } from "./raw-client.ts";
import { isIdempotent, withRetry } from "./retry.ts";

/** How a client's calls behave unless a call says otherwise. */
export interface RpcClientOptions {
  /** Whom the client acts for; absent: calls carry a token only when given one. */
  readonly tokens?: TokenSource | undefined;
  /** Timeout of unary calls in milliseconds, default 10 000. Streams have none. */
  readonly timeoutMs?: number | undefined;
  /** Gets a debug line for each repeated attempt. */
  readonly logger?: Logger | undefined;
}

const TRACER = "@nexus/rpc";

/** Creates the typed client of a service. Cheap: share the channel, not the client.
 *
 * Errors: every failure is a NexusError with the kind and reason that the first failing service gave it. */
export function createRpcClient<S extends DescService>(
  desc: S,
  channel: RpcChannel,
  options: RpcClientOptions = {},
): RpcClient<S> {
  const client: Record<string, unknown> = {};
  for (const method of desc.methods)
    client[method.localName] = clientMethod(method, channel, options);
  return client as RpcClient<S>;
}

function clientMethod(method: DescMethod, channel: RpcChannel, options: RpcClientOptions): unknown {
  if (!isRequestStream(method) && !isResponseStream(method)) {
    return (request: MessageInitShape<DescMessage>, callOptions?: CallOptions) =>
      callUnary(method, channel, options, request, callOptions);
  }
  if (!isResponseStream(method)) {
    return (requests: AsyncIterable<MessageInitShape<DescMessage>>, callOptions?: CallOptions) =>
      callClientStream(method, channel, options, requests, callOptions);
  }
  return (requests: StreamInput, callOptions?: CallOptions) =>
    callResponseStream(method, channel, options, requests, callOptions);
}

type StreamInput = MessageInitShape<DescMessage> | AsyncIterable<MessageInitShape<DescMessage>>;

async function callUnary(
  method: DescMethod,
  channel: RpcChannel,
  options: RpcClientOptions,
  request: MessageInitShape<DescMessage>,
  callOptions: CallOptions = {},
): Promise<MessageShape<DescMessage>> {
  const bytes = encode(method.input, request);
  const defaults = { ...options, timeoutMs: options.timeoutMs ?? DEFAULT_CLIENT_TIMEOUT_MS };
  const deadlineAtMs = deadlineOf(callOptions, defaults);
  const path = methodPath(method);
  return inClientSpan(method, async () => {
    const attempt = () => {
      const timeoutMs = deadlineAtMs === undefined ? undefined : deadlineAtMs - Date.now();
      return rawUnary(
        channel,
        path,
        bytes,
        { ...callOptions, timeoutMs },
        { tokens: options.tokens },
      );
    };
    const response = isIdempotent(method)
      ? await withRetry(attempt, deadlineAtMs, callOptions.signal ?? callOptions.parent?.signal)
      : await attempt();
    return decodeResponse(method.output, response);
  });
}

async function callClientStream(
  method: DescMethod,
  channel: RpcChannel,
  options: RpcClientOptions,
  requests: AsyncIterable<MessageInitShape<DescMessage>>,
  callOptions: CallOptions = {},
): Promise<MessageShape<DescMessage>> {
  const defaults = { tokens: options.tokens };
  return inClientSpan(method, async () => {
    const bytes = encodeAll(method.input, requests);
    for await (const response of rawStream(channel, method, bytes, callOptions, defaults)) {
      return decodeResponse(method.output, response);
    }
    throw new NexusError({
      kind: "internal",
      reason: "PROTOCOL_ERROR",
      message: "The server answered OK without a message.",
    });
  });
}

async function* callResponseStream(
  method: DescMethod,
  channel: RpcChannel,
  options: RpcClientOptions,
  requests: StreamInput,
  callOptions: CallOptions = {},
): AsyncGenerator<MessageShape<DescMessage>, void, undefined> {
  const span = startSpan(method);
  const input = isRequestStream(method)
    ? encodeAll(method.input, requests as AsyncIterable<MessageInitShape<DescMessage>>)
    : encode(method.input, requests as MessageInitShape<DescMessage>);
  const spanContext = trace.setSpan(context.active(), span);
  const responses = rawStream(channel, method, input, callOptions, { tokens: options.tokens });
  try {
    for (;;) {
      const step = await context.with(spanContext, () => responses.next());
      if (step.done === true) return;
      yield decodeResponse(method.output, step.value);
    }
  } catch (error) {
    markFailed(span, error);
    throw error;
  } finally {
    await responses.return();
    span.end();
  }
}

async function* encodeAll(
  schema: DescMessage,
  messages: AsyncIterable<MessageInitShape<DescMessage>>,
): AsyncGenerator<Buffer, void, undefined> {
  for await (const message of messages) yield encode(schema, message);
}

async function inClientSpan<T>(method: DescMethod, fn: () => Promise<T>): Promise<T> {
  const span = startSpan(method);
  try {
    return await context.with(trace.setSpan(context.active(), span), fn);
  } catch (error) {
    markFailed(span, error);
    throw error;
  } finally {
    span.end();
  }
}

function startSpan(method: DescMethod): Span {
  return trace.getTracer(TRACER).startSpan(methodPath(method).slice(1), {
    kind: SpanKind.CLIENT,
    attributes: {
      "rpc.system": "grpc",
      "rpc.service": method.parent.typeName,
      "rpc.method": method.name,
    },
  });
}

function markFailed(span: Span, thrown: unknown): void {
  const error = NexusError.from(thrown);
  span.setAttribute("rpc.grpc.status_code", ERROR_KINDS[error.kind].grpcCode);
  span.setStatus({ code: SpanStatusCode.ERROR, message: error.reason });
}
