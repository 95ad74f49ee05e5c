/** One end of a stream of frames, as agents and orchestrators have. */
import { type AsyncQueue, createAsyncQueue, NexusError } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";

const QUEUE_MAX = 100_000;

/** One stream of frames: what is sent goes out at once, what comes is handed on. */
export class TestPeer<Out, In> {
  framesRead = 0;
  error: NexusError | undefined;
  ended = false;
  /** While true nothing is read. */
  paused = false;
  readonly #outgoing: AsyncQueue<Out>;
  readonly #abort = new AbortController();

  constructor(
    open: (frames: AsyncIterable<Out>, signal: AbortSignal) => AsyncIterable<In>,
    take: (frame: In) => void,
  ) {
    this.#outgoing = createAsyncQueue<Out>({ max: QUEUE_MAX });
    void this.#read(open(this.#outgoing, this.#abort.signal), take);
  }

  send(frame: Out): void {
    this.#outgoing.push(frame);
  }

  /** Breaks the stream, as a crash or a lost network does. */
  break(): void {
    this.#abort.abort();
  }

  /** Ends the sending half only. */
  endSending(): void {
    this.#outgoing.end();
  }

  async untilEnded(): Promise<NexusError | undefined> {
    await waitFor(() => this.ended, { what: "the end of the stream" });
    return this.error;
  }

  async #read(incoming: AsyncIterable<In>, take: (frame: In) => void): Promise<void> {
    try {
      for await (const frame of incoming) {
        this.framesRead += 1;
        take(frame);
        if (this.paused) await waitFor(() => !this.paused, { what: "reading", timeoutMs: 60_000 });
      }
    } catch (error) {
      this.error = NexusError.from(error);
    } finally {
      this.ended = true;
    }
  }
}
