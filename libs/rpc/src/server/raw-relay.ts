import type { DescMethod } from "@bufbuild/protobuf";
import type { Metadata } from "@grpc/grpc-js";
import type { CallContext } from "../call-context.ts";

/** A call whose payloads stay bytes. */
export interface RawCall {
  readonly ctx: CallContext;
  readonly method: DescMethod;
  /** Request headers as they came, without those of the transport. */
  readonly metadata: Metadata;
  /** The request's bytes; undefined when the method's requests stream. */
  readonly request: Buffer | undefined;
  /** The requests' bytes; undefined when the method has one request. */
  readonly requests: AsyncIterable<Buffer> | undefined;
  /** Sends response headers before the first message; later calls have no effect. */
  sendHeader(metadata: Metadata): void;
  /** Trailers of a successful end. */
  readonly trailer: Metadata;
}

/** Answers a raw call: a promise for methods with one response, an iterable for methods that stream responses. */
export type RawRelay = (call: RawCall) => Promise<Buffer> | AsyncIterable<Buffer>;
