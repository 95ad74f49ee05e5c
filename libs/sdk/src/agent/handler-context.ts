import type { MessageContext, Messenger } from "./messages.ts";

/** What a handler gets beside its message. What it does not use is not made: most handlers of plain messages say nothing, and a
 * messenger of its own, or a signal, costs as much as all else that such a message needs. */
export abstract class HandlerContext implements MessageContext {
  #messenger: Messenger | undefined;
  #abort: AbortController | undefined;

  protected abstract makeMessenger(): Messenger;
  protected abstract makeAbort(): AbortController;

  get signal(): AbortSignal {
    this.#abort ??= this.makeAbort();
    return this.#abort.signal;
  }

  // Functions and not methods, so that a handler may take them out of its context.
  get send(): Messenger["send"] {
    return (...args) => this.#speak().send(...args);
  }

  get request(): Messenger["request"] {
    return (...args) => this.#speak().request(...args);
  }

  get requestMany(): Messenger["requestMany"] {
    return (...args) => this.#speak().requestMany(...args);
  }

  get requestStream(): Messenger["requestStream"] {
    return (...args) => this.#speak().requestStream(...args);
  }

  get publish(): Messenger["publish"] {
    return (...args) => this.#speak().publish(...args);
  }

  get subscribe(): Messenger["subscribe"] {
    return (...args) => this.#speak().subscribe(...args);
  }

  #speak(): Messenger {
    this.#messenger ??= this.makeMessenger();
    return this.#messenger;
  }
}
