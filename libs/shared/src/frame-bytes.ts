/** Bytes that show a part of what they came in. */

/** How many times larger than what is kept of it a frame may be. */
const COPY_RATIO = 4;

/** Copies small bytes out of the large frame they came in, so that keeping them does not hold the frame's memory; returns others as they are. */
export function detachFromFrame<T extends Uint8Array>(bytes: T): T {
  return bytes.buffer.byteLength > COPY_RATIO * bytes.byteLength
    ? (Uint8Array.prototype.slice.call(bytes) as T)
    : bytes;
}
