import type { RawCall } from "@nexus/rpc";
import { frameInvalid } from "../domain/mesh-errors.ts";

/** Waits for the next frame of a stream and reads it; undefined at the stream's end.
 *
 * Whatever is wrong with a frame has one name, FRAME_INVALID, and its text says what. Errors of the stream itself
 * pass as they are. */
export async function nextFrame<T>(
  frames: AsyncIterator<Buffer>,
  read: (bytes: Buffer) => T,
): Promise<T | undefined> {
  const step = await frames.next();
  if (step.done === true) return undefined;
  try {
    return read(step.value);
  } catch (error) {
    throw frameInvalid(error instanceof Error ? error.message : "the frame is malformed", error);
  }
}

/** The frames of a streaming call. */
export function framesOf({ requests }: RawCall): AsyncIterator<Buffer> {
  if (requests === undefined) throw new Error("The method's requests do not stream.");
  return requests[Symbol.asyncIterator]();
}
