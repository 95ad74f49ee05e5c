/** Counts streams of bodies, so that no namespace takes all there may be. */
import { NexusError } from "@nexus/shared";
import { PAYLOAD_STREAMS_MAX, PAYLOAD_STREAMS_NAMESPACE_MAX } from "../domain/limits.ts";

const RETRY_AFTER_MS = 1_000;

/** Owns the count of one replica. */
export class PayloadStreams {
  readonly #byNamespace = new Map<string, number>();
  #all = 0;

  /** Takes a place and returns what gives it back. Errors: exhausted/PAYLOAD_STREAMS_BUSY. */
  open(namespace: string): () => void {
    const own = this.#byNamespace.get(namespace) ?? 0;
    if (this.#all >= PAYLOAD_STREAMS_MAX || own >= PAYLOAD_STREAMS_NAMESPACE_MAX) {
      throw new NexusError({
        kind: "exhausted",
        reason: "PAYLOAD_STREAMS_BUSY",
        message: `A namespace has at most ${PAYLOAD_STREAMS_NAMESPACE_MAX} payloads under way at a replica, all have ${PAYLOAD_STREAMS_MAX}.`,
        details: { retryAfterMs: RETRY_AFTER_MS },
      });
    }
    this.#all += 1;
    this.#byNamespace.set(namespace, own + 1);
    return () => this.#close(namespace);
  }

  #close(namespace: string): void {
    this.#all -= 1;
    const left = (this.#byNamespace.get(namespace) ?? 1) - 1;
    if (left > 0) this.#byNamespace.set(namespace, left);
    else this.#byNamespace.delete(namespace);
  }
}
