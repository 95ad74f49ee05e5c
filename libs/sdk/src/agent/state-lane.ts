import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { StateOpResult } from "@nexus/proto/mesh";
import { decodeStatus } from "@nexus/rpc/client";
import { KiB, NexusError, PassingMap } from "@nexus/shared";
import type { SessionAnswer, SessionCall, SessionCalls } from "../state/session-calls.ts";
import type { Outbox, StateOpInit } from "./outbox.ts";
import { currentTraceparent } from "./trace.ts";

/** Larger calls go by themselves, so that no message or sign of life waits behind them. */
export const OP_BYTES_MAX = 256 * KiB;
/** The router's word should come first; ours is the safety net for a stream that is silently dead. */
const TIMEOUT_GRACE_MS = 1_000;
const NUMBER_MAX = 2 ** 31;
/** The router has no room, is about to stop, or does not know what is called. */
const CALL_INSTEAD: ReadonlySet<string> = new Set(["unavailable", "unimplemented"]);

interface Waiting {
  readonly resolve: (answer: SessionAnswer | NexusError | undefined) => void;
  readonly reject: (error: NexusError) => void;
  readonly timer: NodeJS.Timeout;
}

/** Operations on state that travel in the agent's session: as many at once as the router gives credit for. */
export class StateLane implements SessionCalls {
  readonly #outbox: Outbox;
  /** One that was sent and whose time is over stays: it takes credit until the router's word comes. */
  readonly #waiting = new PassingMap<number, Waiting>();
  #credit = 0;
  #lastNumber = 0;

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  tryCall(
    call: SessionCall,
    bytes: number,
    timeoutMs: number,
  ): Promise<SessionAnswer | NexusError | undefined> {
    if (bytes > OP_BYTES_MAX || this.#waiting.size >= this.#credit) {
      return Promise.resolve(undefined);
    }
    this.#lastNumber = (this.#lastNumber % NUMBER_MAX) + 1;
    const number = this.#lastNumber;
    const untilMs = performance.now() + timeoutMs;
    const traceparent = currentTraceparent();
    // Its time runs while it waits for its frame, and is over when the caller's is.
    const cut = (): StateOpInit | undefined => {
      const leftMs = untilMs - performance.now();
      if (leftMs >= 1) {
        return { number, timeout: durationFromMs(Math.floor(leftMs)), traceparent, call };
      }
      this.#forget(number);
      return undefined;
    };
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#giveUp(number), timeoutMs + TIMEOUT_GRACE_MS);
      this.#waiting.set(number, { resolve, reject, timer });
      this.#outbox.stateOp({ number, bytes, cut });
    });
  }

  /** Nobody waits any more: what was not sent never is, and the router is told of the rest. */
  #giveUp(number: number): void {
    if (this.#outbox.cancelStateOp(number)) this.#forget(number);
    else this.#waiting.get(number)?.reject(noWord());
  }

  /** It was never sent, and its time is over. */
  #forget(number: number): void {
    const entry = this.#waiting.get(number);
    clearTimeout(entry?.timer);
    this.#waiting.delete(number);
    entry?.reject(noWord());
  }

  /** A stream is open that takes so many operations at once. */
  connected(credit: number): void {
    this.#credit = credit;
  }

  /** Takes in the router's word on an operation. */
  settle({ number, result }: StateOpResult): void {
    const entry = this.#waiting.get(number);
    if (entry === undefined) return;
    this.#waiting.delete(number);
    clearTimeout(entry.timer);
    const error = result.case === "error" ? decodeStatus(result.value) : undefined;
    if (error === undefined) entry.resolve(result);
    else if (CALL_INSTEAD.has(error.kind)) entry.resolve(error);
    else entry.reject(error);
  }

  /** The stream broke: what was sent may or may not have been carried out. */
  connectionLost(): void {
    this.#credit = 0;
    for (const { resolve, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      resolve(undefined);
    }
    this.#waiting.clear();
  }
}

function noWord(): NexusError {
  return new NexusError({
    kind: "deadline",
    reason: "DEADLINE_EXCEEDED",
    message: "No word about the operation in time.",
  });
}
