import type { DescMethod } from "@bufbuild/protobuf";
import type { ClientDuplexStream, Metadata, ServiceError, StatusObject } from "@grpc/grpc-js";
import { onAbort } from "@nexus/shared";
import { identity, methodPath } from "../wire/codec.ts";
import { InboundStream } from "../wire/inbound.ts";
import { OutboundStream } from "../wire/outbound.ts";
import { createPump, type Pump } from "../wire/pump.ts";
import type { RpcChannel } from "./channel.ts";
import { linkSignals, type Outgoing } from "./outgoing.ts";
import { restoreError } from "./restore-error.ts";

/** One streaming call to be made. */
export interface StreamCall<T> {
  readonly channel: RpcChannel;
  readonly method: DescMethod;
  /** A Buffer when the method takes one request. */
  readonly requests: AsyncIterable<Buffer> | Buffer;
  /** Headers and limits; a promise because the token may have to be fetched. */
  readonly outgoing: Promise<Outgoing>;
  readonly parse: (bytes: Buffer) => T;
  readonly onHeader?: ((metadata: Metadata) => void) | undefined;
  readonly onTrailer?: ((metadata: Metadata) => void) | undefined;
  /** Ends the requests when it aborts; the answers go on. */
  readonly noMoreRequests?: AbortSignal | undefined;
  /** Runs once when the call is over; `error` is undefined when it went well or was left. */
  readonly onEnd?: ((error: unknown) => void) | undefined;
}

/** Starts a streaming call of any kind and returns its answers; a single answer is a stream of one.
 *
 * The call starts at once, before anybody iterates, and goes on until it ends, a signal aborts, or the consumer
 * leaves its loop. On the wire all kinds of calls are alike, so one code path serves them. */
export function openStream<T>(spec: StreamCall<T>): InboundStream<T> {
  let release: (() => void) | undefined;
  const inbound = new InboundStream<T>(spec.parse, (end, error) => {
    release?.();
    spec.onEnd?.(end === "failed" ? error : undefined);
  });
  spec.outgoing
    .then((outgoing) => {
      if (inbound.end === undefined) release = start(spec, outgoing, inbound);
    })
    // The call may have no token, or no channel any more: it was closed meanwhile.
    .catch((error: unknown) => inbound.fail(error));
  return inbound;
}

/** Makes the call; returns what frees its resources and cancels it if it still runs. */
function start<T>(spec: StreamCall<T>, outgoing: Outgoing, inbound: InboundStream<T>): () => void {
  const place = spec.channel.placeStream();
  const call = place.transport.makeBidiStreamRequest<Buffer, Buffer>(
    methodPath(spec.method),
    identity,
    identity,
    outgoing.metadata,
    outgoing.grpcOptions,
  );
  let isOver = false;
  const { closed } = spec.channel;
  const signals = closed === undefined ? outgoing.signals : [...outgoing.signals, closed];
  const link = linkSignals(signals, () => call.cancel());
  if (spec.onHeader !== undefined) call.on("metadata", spec.onHeader);
  // Comes once, however the call ends.
  call.on("status", (status: StatusObject) => {
    isOver = true;
    place.leave();
    sending?.stop();
    spec.onTrailer?.(status.metadata);
  });
  call.on("error", (error: ServiceError) => {
    isOver = true;
    inbound.fail(link.error() ?? restoreError(error));
  });
  inbound.attach(call);
  const sending = sendRequests(spec.requests, call, (error) => inbound.abort(error));
  const endRequests = (): void => sending?.stop();
  if (spec.noMoreRequests?.aborted === true) endRequests();
  const leave = spec.noMoreRequests && onAbort(spec.noMoreRequests, endRequests);
  return () => {
    link.unlink();
    leave?.();
    sending?.stop();
    if (!isOver) call.cancel();
  };
}

function sendRequests(
  requests: AsyncIterable<Buffer> | Buffer,
  call: ClientDuplexStream<Buffer, Buffer>,
  onError: (error: unknown) => void,
): Pump | undefined {
  if (Buffer.isBuffer(requests)) {
    call.end(requests);
    return undefined;
  }
  const sink = new OutboundStream(call);
  // The caller's own iterable failing while it is closed changes nothing about a call that is over.
  const pump = createPump({
    source: requests,
    sink,
    encode: identity,
    onLateError: () => undefined,
  });
  pump.run().then(() => call.end(), onError);
  return pump;
}
