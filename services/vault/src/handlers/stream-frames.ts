import { bodyTooLarge, frameInvalid } from "../domain/errors.ts";

/** A request of a stream that begins with one `start` and goes on with `chunk`s. */
interface StreamRequest {
  readonly frame: { readonly case: string | undefined; readonly value?: unknown };
}

type StartOf<R extends StreamRequest> = Extract<R["frame"], { readonly case: "start" }>["value"];

/** Takes the start of a stream. Errors: invalid/FRAME_INVALID when it begins otherwise, or ends before it begins. */
export async function firstFrame<R extends StreamRequest>(
  frames: AsyncIterator<R>,
): Promise<StartOf<R>> {
  const step = await frames.next();
  const frame = step.done === true ? undefined : step.value.frame;
  if (frame?.case === "start") return frame.value;
  throw frameInvalid("The first frame of the stream must be its start.");
}

/** Yields the pieces of the body until it ends. The signal ends it at once, also while no piece comes.
 *
 * Errors: invalid/FRAME_INVALID for a second start; invalid/BODY_TOO_LARGE; the signal's reason. */
export async function* limitedChunks(
  frames: AsyncIterator<StreamRequest>,
  { signal, maxBytes }: { readonly signal: AbortSignal; readonly maxBytes: number },
): AsyncGenerator<Uint8Array, void> {
  let total = 0;
  for (;;) {
    const step = await nextUnlessAborted(frames, signal);
    signal.throwIfAborted();
    if (step.done === true) return;
    const { frame } = step.value;
    const isChunk = frame.case === "chunk" && frame.value instanceof Uint8Array;
    if (!isChunk) throw frameInvalid("A stream has one start.");
    total += frame.value.byteLength;
    if (total > maxBytes) throw bodyTooLarge(maxBytes);
    yield frame.value;
  }
}

function nextUnlessAborted<T>(frames: AsyncIterator<T>, signal: AbortSignal) {
  return new Promise<IteratorResult<T>>((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
    const settled = () => signal.removeEventListener("abort", onAbort);
    void frames.next().then(resolve, reject).finally(settled);
  });
}
