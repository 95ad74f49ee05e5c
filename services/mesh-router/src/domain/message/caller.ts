import { PassingMap } from "@nexus/shared";
import type { SendResult } from "./letter.ts";
import type { Sender, Unsettled } from "./message.ts";
import type { SenderTally } from "./sender-tally.ts";

/** What a caller learns. */
export interface CallAnswer {
  readonly result: SendResult;
  /** The encoded Payload; set when a reply came. */
  readonly reply: Uint8Array | undefined;
}

/** A sender without a session: it sends one message and waits for its outcome. */
export class Caller implements Sender {
  readonly namespace: string;
  readonly principalId: string;
  readonly unsettled = new PassingMap<string, Unsettled>();
  /** Calls have no order among each other, so what they send is never a continuation. */
  readonly stream = undefined;
  readonly answer: Promise<CallAnswer>;
  #resolve: (answer: CallAnswer) => void = () => undefined;
  #reply: Uint8Array | undefined;

  /** All calls of its principal together. */
  readonly tally: SenderTally | undefined;

  constructor(namespace: string, principalId: string, tally?: SenderTally) {
    this.tally = tally;
    this.namespace = namespace;
    this.principalId = principalId;
    this.answer = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Keeps the reply until the outcome, which follows at once. */
  takeReply(payload: Uint8Array): void {
    this.#reply = payload;
  }

  takeResult(result: SendResult): void {
    this.#resolve({ result, reply: this.#reply });
  }
}
