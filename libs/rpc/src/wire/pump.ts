import { AsyncResource } from "node:async_hooks";
import type { OutboundStream } from "./outbound.ts";

/** What a pump moves, and where. */
export interface PumpOptions<T> {
  readonly source: AsyncIterable<T>;
  readonly sink: OutboundStream;
  readonly encode: (value: T) => Buffer;
  /** Gets what the source throws while it cleans up after stop(), when the call's outcome is already decided. */
  readonly onLateError: (error: unknown) => void;
}

/** Moves everything an iterable yields to a stream, no faster than the reader takes it. */
export interface Pump {
  /** Resolves when the source is exhausted or the pump was stopped; rejects with what the source throws. */
  run(): Promise<void>;
  /** Ends the pump early and calls the source's return(), so that its `finally` blocks run. */
  stop(): void;
}

/** Creates a pump. It asks for the next value only when the stream has room, so a generator runs at the reader's
 * pace, and in the async context of the creator, also when it is stopped from elsewhere. */
export function createPump<T>({ source, sink, encode, onLateError }: PumpOptions<T>): Pump {
  const iterator = source[Symbol.asyncIterator]();
  const iterable = { [Symbol.asyncIterator]: () => iterator };
  let state: "running" | "done" | "stopped" = "running";

  async function run(): Promise<void> {
    try {
      for await (const value of iterable) {
        if (state === "stopped") return;
        const room = sink.write(encode(value));
        if (room !== undefined) await room;
      }
    } finally {
      if (state === "running") state = "done";
    }
  }

  function stop(): void {
    if (state !== "running") return;
    state = "stopped";
    sink.close();
    iterator.return?.().then(undefined, onLateError);
  }

  return { run, stop: AsyncResource.bind(stop) };
}
