import { constants, type Http2Session, type ServerHttp2Stream } from "node:http2";
import {
  Metadata,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { InboundStream } from "../wire/inbound.ts";
import { OutboundStream } from "../wire/outbound.ts";
import { createPump } from "../wire/pump.ts";
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
  readonly trailer: Metadata = new Metadata();
  readonly #callback: sendUnaryData<Buffer> | undefined;
  readonly #stoppers: ((error: unknown) => void)[] = [];
  #reply: Buffer | undefined;
  #over = false;

  constructor(call: GrpcServerCall, callback: sendUnaryData<Buffer> | undefined) {
    this.call = call;
    this.#callback = callback;
  }

  /** True once a status was sent or the client left: nothing more can be sent. */
  get over(): boolean {
    return this.#over;
  }

  /** True once the connection has said goodbye (GOAWAY), e.g. for its age: open streams may finish, no more.
   *
   * grpc-js tells nobody, so this looks where it keeps the HTTP/2 session. Should a later version keep it elsewhere,
   * streams of aged connections are cut at the end of the grace instead of ended in order; a test would tell. */
  get isConnectionClosing(): boolean {
    return this.#http2Stream?.session?.closed === true;
  }

  /** True when the client reset the stream. The regular end of the requests is seen before that, and a handler that
   * ends with its requests would return in good faith for a client that has left. */
  get isReset(): boolean {
    const code = this.#http2Stream?.rstCode;
    return code !== undefined && code !== constants.NGHTTP2_NO_ERROR;
  }

  /** The connection that the call came over; the same object for each of its calls. */
  get session(): Http2Session | undefined {
    return this.#http2Stream?.session;
  }

  get #http2Stream(): ServerHttp2Stream | undefined {
    return (this.call as unknown as { call?: { stream?: ServerHttp2Stream } }).call?.stream;
  }

  /** The only message of a call whose request does not stream. */
  get request(): Buffer {
    return (this.call as ServerUnaryCall<Buffer, Buffer>).request;
  }

  /** The messages of a call whose request streams, each parsed when it is consumed. */
  openRequests<T>(parse: (bytes: Buffer) => T): InboundStream<T> {
    const inbound = new InboundStream(parse);
    inbound.attach(this.call as ServerReadableStream<Buffer, Buffer>, () => this.isReset);
    this.#stoppers.push((error) => inbound.abort(error));
    return inbound;
  }

  /** Sends everything a handler yields, at the client's pace, until it ends or the call is over. */
  async sendAll<T>(
    source: AsyncIterable<T>,
    encode: (value: T) => Buffer,
    onLateError: (error: unknown) => void,
  ): Promise<void> {
    const sink = new OutboundStream(this.call as ServerWritableStream<Buffer, Buffer>);
    const pump = createPump({ source, sink, encode, onLateError });
    if (this.#over) pump.stop();
    this.#stoppers.push(() => pump.stop());
    await pump.run();
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
    for (const stop of this.#stoppers) stop(error);
  }
}
