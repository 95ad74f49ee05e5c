/** One Dispatch stream to one mesh-router replica, which comes back by itself. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  DispatchRequestSchema,
  DispatchResponse,
  DispatchService,
  RoutedAssignmentSchema,
  RoutedCancelSchema,
  RoutedDemandSchema,
  RoutedUpdateResultSchema,
} from "@nexus/proto/mesh";
import type { RpcClient } from "@nexus/rpc";
import { backoffDelayMs, KiB, MiB, sleep } from "@nexus/shared";
import { FRAME_ITEMS_MAX } from "../domain/limits.ts";
import { FrameQueue } from "./frame-queue.ts";

type Frame = MessageInitShape<typeof DispatchRequestSchema>;
type AssignmentItem = MessageInitShape<typeof RoutedAssignmentSchema>;
type CancelItem = MessageInitShape<typeof RoutedCancelSchema>;
type DemandItem = MessageInitShape<typeof RoutedDemandSchema>;
type ResultItem = MessageInitShape<typeof RoutedUpdateResultSchema>;

/** Frames, and bytes in them, that may wait for the transport; a router that falls further behind begins anew. */
const QUEUE_LIMITS = { frames: 1_024, bytes: 64 * MiB };
/** A frame is closed once it holds this much: with one more item, at most 2.5 MiB, it stays below the message limit. */
const FRAME_BYTES = 1_024 * KiB;
const RECONNECT = { initialMs: 100, multiplier: 2, maxMs: 2_000, jitter: 0.3 };

/** What a stream tells of. */
export interface RouterStreamEvents {
  onOpened(): void;
  onFrame(frame: DispatchResponse): void;
  onLost(error: unknown): void;
}

/** What a stream needs. */
export interface RouterStreamOptions {
  readonly client: RpcClient<typeof DispatchService>;
  readonly orchestratorId: string;
  readonly events: RouterStreamEvents;
}

/** Owns one stream and what waits to be sent on it. */
export class RouterStream {
  readonly #options: RouterStreamOptions;
  readonly #stop = new AbortController();
  #outgoing: FrameQueue<Frame> | undefined;
  #cut: AbortController | undefined;
  #assignments: AssignmentItem[] = [];
  #cancels: CancelItem[] = [];
  #results: ResultItem[] = [];
  #demands: DemandItem[] = [];
  #bytes = 0;
  #flush: NodeJS.Immediate | undefined;
  readonly #running: Promise<void>;

  constructor(options: RouterStreamOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** Puts an assignment on the stream; false when it is down. */
  assign(item: AssignmentItem, sizeBytes: number): boolean {
    if (!this.#isUp()) return false;
    this.#assignments.push(item);
    this.#bytes += sizeBytes;
    if (this.#assignments.length >= FRAME_ITEMS_MAX || this.#bytes >= FRAME_BYTES) this.#send();
    return this.#isUp();
  }

  /** Puts a cancel on the stream. It is sent after every assignment before it, at the latest in the same frame. */
  cancel(item: CancelItem): boolean {
    if (!this.#isUp()) return false;
    this.#cancels.push(item);
    if (this.#cancels.length >= FRAME_ITEMS_MAX) this.#send();
    return this.#isUp();
  }

  /** Puts the answer to a terminal update on the stream. */
  answer(item: ResultItem): boolean {
    if (!this.#isUp()) return false;
    this.#results.push(item);
    if (this.#results.length >= FRAME_ITEMS_MAX) this.#send();
    return this.#isUp();
  }

  /** Puts a demand on the stream. */
  demand(item: DemandItem): boolean {
    if (!this.#isUp()) return false;
    this.#demands.push(item);
    if (this.#demands.length >= FRAME_ITEMS_MAX) this.#send();
    return this.#isUp();
  }

  /** Ends the stream for good. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#cut?.abort();
    await this.#running;
  }

  /** Items of one turn of the event loop leave together. */
  #isUp(): boolean {
    if (this.#outgoing === undefined || this.#outgoing.closed) return false;
    this.#flush ??= setImmediate(() => this.#send());
    return true;
  }

  #send(): void {
    clearImmediate(this.#flush);
    this.#flush = undefined;
    const items =
      this.#assignments.length + this.#cancels.length + this.#results.length + this.#demands.length;
    if (items === 0 || this.#outgoing === undefined) return;
    const frame: Frame = {
      assignments: this.#assignments,
      cancels: this.#cancels,
      updateResults: this.#results,
      demands: this.#demands,
    };
    const sizeBytes = this.#bytes;
    this.#reset();
    // A router that does not read is left, and given a fresh start: leases are sent again, answers asked for again.
    if (!this.#outgoing.push(frame, sizeBytes)) this.#cut?.abort();
  }

  #reset(): void {
    this.#assignments = [];
    this.#cancels = [];
    this.#results = [];
    this.#demands = [];
    this.#bytes = 0;
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
    const { client, orchestratorId, events } = this.#options;
    const outgoing = new FrameQueue<Frame>(QUEUE_LIMITS);
    outgoing.push({ orchestratorId }, 0);
    const cut = new AbortController();
    this.#cut = cut;
    let opened = false;
    let failure: unknown;
    try {
      for await (const frame of client.dispatch(outgoing, { signal: cut.signal })) {
        if (!opened) {
          opened = true;
          this.#outgoing = outgoing;
          events.onOpened();
        }
        events.onFrame(frame);
      }
    } catch (error) {
      failure = error;
    }
    this.#outgoing = undefined;
    clearImmediate(this.#flush);
    this.#flush = undefined;
    this.#reset();
    outgoing.end();
    if (opened) events.onLost(failure);
    return opened;
  }
}
