import { sessionTooSlow } from "../domain/mesh-errors.ts";
import type { SessionStream } from "../domain/session/session.ts";
import { FrameStream } from "./frame-stream.ts";
import type { StateOps } from "./state/state-ops.ts";
import type { TurnScheduler } from "./turn-scheduler.ts";

/** The writing half of an agent's stream: beside the session's outbox it writes the answers to operations on state. */
export class AgentStream extends FrameStream<Buffer> implements SessionStream {
  readonly #ops: StateOps;
  readonly #lostAfterMs: number;
  #bound: NodeJS.Timeout | undefined;

  constructor(init: {
    readonly turns: TurnScheduler;
    readonly onFail: () => void;
    readonly ops: StateOps;
    readonly lostAfterMs: number;
  }) {
    super(init.turns, init.onFail);
    this.#ops = init.ops;
    this.#lostAfterMs = init.lostAfterMs;
  }

  get hasAnswers(): boolean {
    return this.#ops.hasAnswers;
  }

  /** As FrameStream, for an agent that reads: a session that said goodbye is looked at by nobody any more. */
  override finish(): void {
    this.#bound ??= setTimeout(() => this.fail(sessionTooSlow()), this.#lostAfterMs);
    this.#ops.finish();
    super.finish();
  }

  /** The call is over. */
  close(): void {
    clearTimeout(this.#bound);
  }

  /** Operations that run have an answer to come, which STATE_LINGER_MS bounds. */
  protected override get isHeldOpen(): boolean {
    return this.#ops.isBusy;
  }
}
