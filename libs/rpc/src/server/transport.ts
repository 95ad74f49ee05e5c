import type {
  Metadata,
  sendUnaryData,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
} from "@grpc/grpc-js";
import { Metadata as GrpcMetadata } from "@grpc/grpc-js";
import { InboundStream } from "../wire/inbound.ts";
import { OutboundStream } from "../wire/outbound.ts";
import type { WireStatus } from "../wire/status.ts";

/** Any of the four call objects of grpc-js, with bytes on both sides. */
export type GrpcServerCall =
  | ServerUnaryCall<Buffer, Buffer>
  | ServerReadableStream<Buffer, Buffer>
  | ServerWritableStream<Buffer, Buffer>
  | ServerDuplexStream<Buffer, Buffer>;

/** One call as the onion sees it, whatever its kind: bytes in, bytes out, one end. */
export class ServerTransport {
  readonly call: GrpcServerCall;
  readonly trailer: Metadata = new GrpcMetadata();
  readonly #callback: sendUnaryData<Buffer> | undefined;
  readonly #responses: OutboundStream | undefined;
  #failInbound: ((error: unknown) => void) | undefined;
  #reply: Buffer | undefined;
  #over = false;

  constructor(call: GrpcServerCall, callback: sendUnaryData<Buffer> | undefined) {
    this.call = call;
    this.#callback = callback;
    if (callback === undefined) {
      this.#responses = new OutboundStream(call as ServerWritableStream<Buffer, Buffer>);
    }
  }

  /** True once a status was sent or the client left: nothing more can be sent. */
  get over(): boolean {
    return this.#over;
  }

  /** The only message of a call whose request does not stream. */
  get request(): Buffer {
    return (this.call as ServerUnaryCall<Buffer, Buffer>).request;
  }

  /** The messages of a call whose request streams, each parsed when it is consumed. */
  openRequests<T>(parse: (bytes: Buffer) => T): InboundStream<T> {
    const inbound = new InboundStream(this.call as ServerReadableStream<Buffer, Buffer>, parse);
    this.#failInbound = (error) => inbound.fail(error, true);
    return inbound;
  }

  /** Where the messages of a streamed response go. */
  get responses(): OutboundStream {
    if (this.#responses === undefined) throw new Error("A unary response does not stream.");
    return this.#responses;
  }

  /** Keeps the single response until the call succeeds. */
  reply(bytes: Buffer): void {
    this.#reply = bytes;
  }

  /** Sends response headers before the first message. */
  sendHeader(metadata: Metadata): void {
    if (!this.#over) this.call.sendMetadata(metadata);
  }

  /** Ends the call with OK. */
  finish(): void {
    if (this.#over) return;
    this.stop(undefined);
    if (this.#callback !== undefined) this.#callback(null, this.#reply, this.trailer);
    else (this.call as ServerWritableStream<Buffer, Buffer>).end(this.trailer);
  }

  /** Ends the call with a failure. Messages already written are still delivered before it. */
  fail(status: WireStatus, error: unknown): void {
    if (this.#over) return;
    this.stop(error);
    if (this.#callback !== undefined) this.#callback({ ...status });
    else this.call.emit("error", { ...status });
  }

  /** Stops both directions without sending anything: the client left, or a status follows. */
  stop(error: unknown): void {
    this.#over = true;
    this.#responses?.close();
    this.#failInbound?.(error);
  }
}
