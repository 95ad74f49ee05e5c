import type { OutboundStream } from "./outbound.ts";

/** Moves everything an iterable yields to a stream, no faster than the reader takes it.
 *
 * Asks for the next value only when the stream has room, so a generator runs at the reader's pace. Whatever ends
 * the pump early, the iterator's return() is called, so that its `finally` blocks run. */
export async function pump<T>(
  source: AsyncIterable<T>,
  sink: OutboundStream,
  encode: (value: T) => Buffer,
  isOver: () => boolean,
): Promise<void> {
  for await (const value of source) {
    if (isOver()) return;
    const room = sink.write(encode(value));
    if (room !== undefined) {
      await room;
      if (isOver()) return;
    }
  }
}
