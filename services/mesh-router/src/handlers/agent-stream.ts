import type { SessionStream } from "../domain/session/session.ts";
import { FrameStream } from "./frame-stream.ts";
import type { StateOps } from "./state/state-ops.ts";
import type { TurnScheduler } from "./turn-scheduler.ts";

/** The writing half of an agent's stream: beside the session's outbox it writes the answers to operations on state. */
export class AgentStream extends FrameStream<Buffer> implements SessionStream {
  readonly #ops: StateOps;

  constructor(turns: TurnScheduler, onFail: () => void, ops: StateOps) {
    super(turns, onFail);
    this.#ops = ops;
  }

  get hasAnswers(): boolean {
    return this.#ops.hasAnswers;
  }

  override finish(): void {
    this.#ops.finish();
    super.finish();
  }

  /** Operations that run have an answer to come, which STATE_LINGER_MS bounds. */
  protected override get isHeldOpen(): boolean {
    return this.#ops.isBusy;
  }
}
