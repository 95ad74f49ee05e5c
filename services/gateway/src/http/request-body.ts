import { NexusError } from "@nexus/shared";
import { toConnectError } from "./connect-errors.ts";

/** Flags and length that stand before each message of a stream, and of every gRPC-Web call. */
export const ENVELOPE_BYTES = 5;

/** Yields a request's bytes until there are too many of them; then the caller gets the error of the gRPC port.
 *
 * `onTooLarge` runs first, so that the rest of the body need not be read.
 * Errors: exhausted/MESSAGE_TOO_LARGE as a ConnectError. */
export async function* limitBody(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
  onTooLarge: () => void,
): AsyncGenerator<Uint8Array, void> {
  let receivedBytes = 0;
  for await (const chunk of body) {
    receivedBytes += chunk.byteLength;
    if (receivedBytes > maxBytes) {
      onTooLarge();
      throw toConnectError(tooLarge(maxBytes - ENVELOPE_BYTES));
    }
    yield chunk;
  }
}

function tooLarge(limit: number): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "MESSAGE_TOO_LARGE",
    message: `A message is larger than the limit of ${limit} bytes.`,
  });
}
