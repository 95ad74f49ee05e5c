/** One Dispatch stream to one mesh-router replica, which comes back by itself. */

import { DispatchService } from "@nexus/proto/mesh";
import { type RpcChannel, rawStream, type TokenSource, WireWriter } from "@nexus/rpc";
import { backoffDelayMs, KiB, MiB, sleep } from "@nexus/shared";
import { FRAME_ITEMS_MAX } from "../domain/limits.ts";
import { FrameQueue } from "./frame-queue.ts";
import { writeHello } from "./wire/dispatch-request.ts";
import { type RouterFrame, readRouterFrame } from "./wire/dispatch-response.ts";

const DISPATCH = DispatchService.method.dispatch;
/** Frames, and bytes in them, that may wait for the transport; a router that falls further behind begins anew. */
const QUEUE_LIMITS = { frames: 1_024, bytes: 64 * MiB };
/** A frame is closed once it holds this much: with one more item, at most 2.5 MiB, it stays below the message limit. */
const FRAME_BYTES = 1_024 * KiB;
/** How long what nobody waits for stays for other items to leave with. */
const LATER_MAX_MS = 25;
const RECONNECT = { initialMs: 100, multiplier: 2, maxMs: 2_000, jitter: 0.3 };

/** What a stream tells of. */
export interface RouterStreamEvents {
  onOpened(): void;
  onFrame(frame: RouterFrame): void;
  onLost(error: unknown): void;
}

/** What a stream needs. */
export interface RouterStreamOptions {
  /** Its own: closed with it. */
  readonly channel: RpcChannel;
  readonly tokens: TokenSource;
  /** The router's address, by which updates name it. */
  readonly router: string;
  readonly orchestratorId: string;
  readonly events: RouterStreamEvents;
}

/** Owns one stream and what waits to be sent on it. */
export class RouterStream {
  readonly #options: RouterStreamOptions;
  readonly #stop = new AbortController();
  /** The frame in the making. */
  readonly #writer = new WireWriter();
  #items = 0;
  #outgoing: FrameQueue<Buffer> | undefined;
  #cut: AbortController | undefined;
  #flush: NodeJS.Immediate | undefined;
  #lateFlush: NodeJS.Timeout | undefined;
  readonly #running: Promise<void>;

  constructor(options: RouterStreamOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** True while the router answers on it. */
  get isUp(): boolean {
    return this.#outgoing?.closed === false;
  }

  /** Puts an item on the stream, written by `write`; false when the stream is down. Items keep their order, those of one turn of the
   * event loop leave together. */
  put(write: (writer: WireWriter) => void): boolean {
    if (!this.#add(write)) return false;
    this.#flush ??= setImmediate(() => this.#send());
    return this.#sendIfFull();
  }

  /** As put(), for what nobody waits for: it leaves with the next item that is put, and soon in any case. A frame less is a
   * wake-up less of each process on its way. */
  putLater(write: (writer: WireWriter) => void): boolean {
    if (!this.#add(write)) return false;
    this.#lateFlush ??= setTimeout(() => this.#send(), LATER_MAX_MS);
    return this.#sendIfFull();
  }

  /** Ends the stream for good. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#cut?.abort();
    await this.#running;
    this.#options.channel.close();
  }

  #hello(): Buffer {
    const writer = new WireWriter();
    writeHello(writer, this.#options.orchestratorId);
    return writer.take();
  }

  #add(write: (writer: WireWriter) => void): boolean {
    if (!this.isUp) return false;
    write(this.#writer);
    this.#items += 1;
    return true;
  }

  #sendIfFull(): boolean {
    if (this.#items >= FRAME_ITEMS_MAX || this.#writer.size >= FRAME_BYTES) this.#send();
    return this.isUp;
  }

  #cancelFlush(): void {
    clearImmediate(this.#flush);
    clearTimeout(this.#lateFlush);
    this.#flush = undefined;
    this.#lateFlush = undefined;
  }

  #send(): void {
    this.#cancelFlush();
    if (this.#items === 0 || this.#outgoing === undefined) return;
    this.#items = 0;
    const frame = this.#writer.take();
    // A router that does not read is left, and given a fresh start: leases are sent again, answers asked for again.
    if (!this.#outgoing.push(frame, frame.length)) this.#cut?.abort();
  }

  #reset(): void {
    this.#cancelFlush();
    this.#items = 0;
    this.#writer.reset();
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#stop.signal.aborted; ) {
      const healthy = await this.#connectOnce();
      failures = healthy ? 1 : failures + 1;
      try {
        await sleep(backoffDelayMs(failures, RECONNECT), this.#stop.signal);
      } catch {
        // Closed while waiting: the loop ends.
      }
    }
  }

  /** One connection's life; true when it ever got a frame. */
  async #connectOnce(): Promise<boolean> {
    const { channel, tokens, router, events } = this.#options;
    const outgoing = new FrameQueue<Buffer>(QUEUE_LIMITS);
    outgoing.push(this.#hello(), 0);
    const cut = new AbortController();
    this.#cut = cut;
    const options = { signal: cut.signal, tokens };
    let opened = false;
    let failure: unknown;
    try {
      for await (const bytes of rawStream(channel, DISPATCH, outgoing, options)) {
        if (!opened) {
          opened = true;
          this.#outgoing = outgoing;
          events.onOpened();
        }
        events.onFrame(readRouterFrame(bytes, router));
      }
    } catch (error) {
      failure = error;
    }
    this.#outgoing = undefined;
    this.#reset();
    outgoing.end();
    if (opened) events.onLost(failure);
    return opened;
  }
}
