/** What a relayed stream tells about itself. */
export interface RelayedStreamHooks {
  /** Turns an error of the owner into the caller's. */
  readonly explain: (error: unknown) => unknown;
  /** Runs once, when the stream is over; without an error it went well or was left by its reader. `isAnswered` says whether anything came. */
  readonly onEnd: (error: unknown, isAnswered: boolean) => void;
}

/** The answers of an owner on their way to a caller, seen but not touched.
 *
 * A class and not a generator: return() has to reach the source also while next() waits, and a message costs one
 * promise more, not three. */
export class RelayedStream implements AsyncIterableIterator<Buffer, undefined> {
  readonly #source: AsyncIterator<Buffer, undefined>;
  readonly #hooks: RelayedStreamHooks;
  #over = false;
  #isAnswered = false;

  constructor(source: AsyncIterable<Buffer>, hooks: RelayedStreamHooks) {
    this.#source = source[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
    this.#hooks = hooks;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Buffer, undefined>> {
    return this.#source.next().then(this.#pass, this.#fail);
  }

  async return(): Promise<IteratorResult<Buffer, undefined>> {
    this.#end();
    await this.#source.return?.();
    return { value: undefined, done: true };
  }

  readonly #pass = (step: IteratorResult<Buffer, undefined>) => {
    if (step.done === true) this.#end();
    else this.#isAnswered = true;
    return step;
  };

  readonly #fail = (thrown: unknown): never => {
    const error = this.#hooks.explain(thrown);
    this.#end(error);
    throw error;
  };

  #end(error?: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#hooks.onEnd(error, this.#isAnswered);
  }
}
