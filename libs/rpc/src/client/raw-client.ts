import type { EventEmitter } from "node:events";
import type { DescMethod } from "@bufbuild/protobuf";
import type {
  ClientDuplexStream,
  ClientWritableStream,
  Metadata,
  ServiceError,
} from "@grpc/grpc-js";
import { identity, isRequestStream, isResponseStream, methodPath } from "../wire/codec.ts";
import { InboundStream } from "../wire/inbound.ts";
import { OutboundStream } from "../wire/outbound.ts";
import { pump } from "../wire/pump.ts";
import { fromRelayedStatus } from "../wire/status.ts";
import type { CallOptions } from "./call-options.ts";
import type { RpcChannel } from "./channel.ts";
import { type ClientDefaults, deadlineOf, linkSignals, prepareCall } from "./outgoing.ts";

/** Hooks for the headers and trailers of a raw call's answer. */
export interface RawCallOptions extends CallOptions {
  readonly onHeader?: ((metadata: Metadata) => void) | undefined;
  readonly onTrailer?: ((metadata: Metadata) => void) | undefined;
}

/** Makes one unary call with bytes on both sides. No retry: the caller knows the method, this does not.
 *
 * Errors: NexusErrors that keep the upstream's status bytes for a server that passes them on. */
export async function rawUnary(
  channel: RpcChannel,
  path: string,
  request: Buffer,
  options: RawCallOptions = {},
  defaults: ClientDefaults = {},
): Promise<Buffer> {
  const outgoing = await prepareCall(options, defaults, deadlineOf(options, defaults));
  return new Promise((resolve, reject) => {
    const call = channel.transport.makeUnaryRequest(
      path,
      identity,
      identity,
      request,
      outgoing.metadata,
      outgoing.grpcOptions,
      (error, response) => {
        link.unlink();
        if (error === null && response !== undefined) resolve(response);
        else reject(link.error() ?? toError(error));
      },
    );
    const link = linkSignals(outgoing.signals, () => call.cancel());
    observe(call, options);
  });
}

/** Makes a streaming call of any kind with bytes on both sides; a single answer is a stream of one.
 *
 * `requests` is a Buffer when the method takes one request. The call starts when iteration does. */
export async function* rawStream(
  channel: RpcChannel,
  method: DescMethod,
  requests: AsyncIterable<Buffer> | Buffer,
  options: RawCallOptions = {},
  defaults: ClientDefaults = {},
): AsyncGenerator<Buffer, void, undefined> {
  const outgoing = await prepareCall(options, defaults, deadlineOf(options, defaults));
  if (!isResponseStream(method)) {
    yield await clientStream(channel, method, requests as AsyncIterable<Buffer>, outgoing, options);
    return;
  }
  yield* responseStream(channel, method, requests, outgoing, options);
}

type Prepared = Awaited<ReturnType<typeof prepareCall>>;

function clientStream(
  channel: RpcChannel,
  method: DescMethod,
  requests: AsyncIterable<Buffer>,
  { metadata, grpcOptions, signals }: Prepared,
  options: RawCallOptions,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let sendError: unknown;
    const call: ClientWritableStream<Buffer> = channel.transport.makeClientStreamRequest(
      methodPath(method),
      identity,
      identity,
      metadata,
      grpcOptions,
      (error, response) => {
        link.unlink();
        sending.stop();
        if (error === null && response !== undefined) resolve(response as Buffer);
        else reject(sendError ?? link.error() ?? toError(error));
      },
    );
    const link = linkSignals(signals, () => call.cancel());
    observe(call, options);
    const sending = send(requests, call, (error) => {
      sendError = error;
      call.cancel();
    });
  });
}

function responseStream(
  channel: RpcChannel,
  method: DescMethod,
  requests: AsyncIterable<Buffer> | Buffer,
  { metadata, grpcOptions, signals }: Prepared,
  options: RawCallOptions,
): AsyncIterable<Buffer> {
  const path = methodPath(method);
  const { transport } = channel;
  const call = isRequestStream(method)
    ? transport.makeBidiStreamRequest<Buffer, Buffer>(
        path,
        identity,
        identity,
        metadata,
        grpcOptions,
      )
    : transport.makeServerStreamRequest<Buffer, Buffer>(
        path,
        identity,
        identity,
        requests as Buffer,
        metadata,
        grpcOptions,
      );
  const link = linkSignals(signals, () => call.cancel());
  const inbound = new InboundStream<Buffer>(call, identity, () => {
    link.unlink();
    sending?.stop();
    call.cancel();
  });
  let sendError: unknown;
  const sending = isRequestStream(method)
    ? send(
        requests as AsyncIterable<Buffer>,
        call as ClientDuplexStream<Buffer, Buffer>,
        (error) => {
          sendError = error;
          call.cancel();
        },
      )
    : undefined;
  call.on("error", (error: ServiceError) => {
    inbound.fail(sendError ?? link.error() ?? toError(error));
  });
  call.on("status", () => {
    link.unlink();
    sending?.stop();
  });
  observe(call, options);
  return inbound;
}

/** Sends requests in the background; stop() ends it when the call has its status. */
function send(
  requests: AsyncIterable<Buffer>,
  call: ClientWritableStream<Buffer> | ClientDuplexStream<Buffer, Buffer>,
  onError: (error: unknown) => void,
): { stop(): void } {
  const outbound = new OutboundStream(call);
  let over = false;
  pump(requests, outbound, identity, () => over).then(
    () => {
      if (!over) call.end();
    },
    (error: unknown) => {
      if (!over) onError(error);
    },
  );
  return {
    stop() {
      over = true;
      outbound.close();
    },
  };
}

function observe(call: EventEmitter, { onHeader, onTrailer }: RawCallOptions): void {
  if (onHeader !== undefined) call.on("metadata", onHeader);
  if (onTrailer !== undefined) {
    call.on("status", (status: { metadata: Metadata }) => onTrailer(status.metadata));
  }
}

function toError(error: ServiceError | null) {
  return fromRelayedStatus({
    code: error?.code ?? 13,
    details: error?.details ?? "The call ended without an answer.",
    metadata: error?.metadata,
  });
}
