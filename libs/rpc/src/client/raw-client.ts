import type { DescMethod } from "@bufbuild/protobuf";
import type { Metadata, StatusObject } from "@grpc/grpc-js";
import { identity } from "../wire/codec.ts";
import type { CallOptions } from "./call-options.ts";
import type { RpcChannel } from "./channel.ts";
import { type ClientDefaults, deadlineOf, linkSignals, prepareCall } from "./outgoing.ts";
import { restoreError } from "./restore-error.ts";
import { openStream } from "./stream-call.ts";

/** Options of a raw call: also what to do with the headers and trailers of its answer. */
export interface RawCallOptions extends CallOptions {
  readonly onHeader?: ((metadata: Metadata) => void) | undefined;
  readonly onTrailer?: ((metadata: Metadata) => void) | undefined;
  /** Of a stream: ends the requests when it aborts; the answers go on until the other side ends them. */
  readonly noMoreRequests?: AbortSignal | undefined;
}

/** Makes one unary call with bytes on both sides. Never repeated: whether that is safe is the caller's knowledge.
 *
 * Errors: NexusErrors that keep the status bytes they came with, for a server that passes them on. */
export async function rawUnary(
  channel: RpcChannel,
  path: string,
  request: Buffer,
  options: RawCallOptions & ClientDefaults = {},
): Promise<Buffer> {
  const outgoing = await prepareCall(options, deadlineOf(options));
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
        else reject(link.error() ?? restoreError(error));
      },
    );
    const link = linkSignals(outgoing.signals, () => call.cancel());
    const { onHeader, onTrailer } = options;
    if (onHeader !== undefined) call.on("metadata", onHeader);
    if (onTrailer !== undefined) {
      call.on("status", ({ metadata }: StatusObject) => onTrailer(metadata));
    }
  });
}

/** Starts a streaming call of any kind with bytes on both sides; a single answer is a stream of one.
 *
 * `requests` is a Buffer when the method takes one request. */
export function rawStream(
  channel: RpcChannel,
  method: DescMethod,
  requests: AsyncIterable<Buffer> | Buffer,
  options: RawCallOptions & ClientDefaults = {},
): AsyncIterableIterator<Buffer> {
  return openStream({
    channel,
    method,
    requests,
    outgoing: prepareCall(options, deadlineOf(options)),
    parse: identity,
    onHeader: options.onHeader,
    onTrailer: options.onTrailer,
    noMoreRequests: options.noMoreRequests,
  });
}
