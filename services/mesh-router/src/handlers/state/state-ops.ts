/** The operations on state of one stream: begun as they come, answered as they end, over with the stream. */
import type { CallContext, InnerServing } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import { Fifo } from "../../domain/fifo.ts";
import {
  FRAME_WITH_ANSWERS_MAX,
  STATE_ANSWER_BYTES_MAX,
  STATE_ANSWER_SMALL_BYTES,
  STATE_ANSWERS_BYTES_MAX,
  STATE_LINGER_MS,
  STATE_OPS_MAX,
  STATE_SESSION_ANSWERS_BYTES_MAX,
} from "../../domain/limits.ts";
import { frameInvalid, routerDraining } from "../../domain/mesh-errors.ts";
import type { StateEvents } from "../../domain/state/state-ports.ts";
import { type StateCall, type StateOp, writeAnswer, writeFailure } from "../wire/state-op.ts";
import type { StateMethods } from "./state-methods.ts";

/** Bytes of the answers that agents have yet to read, of all sessions of a replica. */
export interface AnswerBudget {
  bytes: number;
}

/** What operations need. */
export interface StateOpsInit {
  readonly methods: StateMethods;
  readonly events: Pick<StateEvents, "stateOperated">;
  readonly budget: AnswerBudget;
  /** Of the stream: its principal is the caller. */
  readonly ctx: CallContext;
  /** An answer is there. */
  readonly onAnswer: () => void;
}

interface Running {
  readonly number: number;
  readonly serving: InnerServing;
}

/** Bounded twice by STATE_OPS_MAX: what has no written answer, and handlers that have not ended. The second is more than the first where
 * a deadline overtook a handler: its agent has its credit back, the handler may still wait for a bucket. */
export class StateOps {
  readonly #init: StateOpsInit;
  readonly #running = new Set<Running>();
  readonly #answers = new Fifo<Buffer>();
  /** Bytes of this stream in the budget: of answers that wait, and of those in the frame that the transport has. */
  #bytes = 0;
  #bytesInFrame = 0;
  /** Operations that have no answer yet. */
  #open = 0;
  #passedOver = false;
  #linger: NodeJS.Timeout | undefined;
  #over = false;

  constructor(init: StateOpsInit) {
    this.#init = init;
  }

  /** True while an answer waits to be read. */
  get hasAnswers(): boolean {
    return this.#answers.length > 0 || this.#bytesInFrame > 0;
  }

  /** True while an operation has no answer. */
  get isBusy(): boolean {
    return this.#open > 0;
  }

  /** True when messages left no room for the oldest answer in the last frame: it goes first now, or they would keep it for ever. Beside
   * other answers it just waits for the next frame, which begins with messages again. */
  get isOverdue(): boolean {
    return this.#passedOver;
  }

  /** Begins an operation. Errors: invalid/FRAME_INVALID beyond the credit. */
  begin(op: StateOp): void {
    if (this.#over) return;
    if (this.#open + this.#answers.length >= STATE_OPS_MAX) {
      throw frameInvalid(`At most ${STATE_OPS_MAX} state operations may have no answer yet.`);
    }
    this.#open += 1;
    if (op.call === undefined) this.#refuse(op, "unknown", callUnknown());
    else if (this.#linger !== undefined) this.#refuse(op, op.call, routerDraining());
    else if (this.#running.size >= STATE_OPS_MAX) this.#refuse(op, op.call, noRoom());
    else void this.#run(op, op.call);
  }

  /** Ends an operation that its agent no longer waits for; it is answered all the same. */
  cancel(number: number): void {
    for (const running of this.#running) {
      if (running.number === number) running.serving.end(cancelled());
    }
  }

  /** Takes answers for a frame that has so many bytes already; an empty one has room for any. */
  *take(frameBytes: number): Generator<Buffer> {
    let bytes = frameBytes;
    this.#passedOver = false;
    for (let next = this.#answers.peek(); next !== undefined; next = this.#answers.peek()) {
      if (bytes > 0 && bytes + next.length > FRAME_WITH_ANSWERS_MAX) {
        this.#passedOver = frameBytes > 0;
        return;
      }
      bytes += next.length;
      this.#bytesInFrame += next.length;
      this.#answers.shift();
      yield next;
    }
  }

  /** The transport has room for another frame: the last one is on its way. */
  frameLeft(): void {
    this.#count(-this.#bytesInFrame);
    this.#bytesInFrame = 0;
  }

  /** The stream ends once everything is answered: nothing is begun any more, and what takes too long is ended. */
  finish(): void {
    if (this.#over) return;
    this.#linger ??= setTimeout(() => this.#endRunning(routerDraining()), STATE_LINGER_MS);
  }

  /** The stream is over: what was not begun is left out, and nobody gets the rest. */
  end(reason: NexusError): void {
    this.#over = true;
    clearTimeout(this.#linger);
    this.#answers.remove(() => true);
    this.#bytesInFrame = 0;
    this.#count(-this.#bytes);
    this.#endRunning(reason);
  }

  #endRunning(reason: NexusError): void {
    for (const { serving } of this.#running) serving.end(reason);
  }

  /** Never rejects. */
  async #run(op: StateOp, call: StateCall): Promise<void> {
    const { methods, events, ctx } = this.#init;
    const { number } = op;
    const beganAtMs = performance.now();
    const serving = methods[call](ctx, toCall(op));
    const running = { number, serving };
    this.#running.add(running);
    void serving.ended.then(() => this.#running.delete(running));
    let outcome = "ok";
    let answer: Buffer;
    try {
      answer = this.#fitting(writeAnswer(number, call, await serving.answer));
    } catch (thrown) {
      const error = NexusError.from(thrown);
      outcome = error.kind;
      answer = writeFailure(number, error, ctx.service);
    }
    events.stateOperated(call, outcome, performance.now() - beganAtMs);
    this.#answer(answer);
  }

  /** Errors: unavailable/STATE_OP_NO_ROOM, so that the agent makes the call by itself; a write is not carried out again then. */
  #fitting(answer: Buffer): Buffer {
    const { length } = answer;
    // As small as the refusal would be: their number bounds them.
    if (length <= STATE_ANSWER_SMALL_BYTES) return answer;
    const fits =
      length <= STATE_ANSWER_BYTES_MAX &&
      this.#bytes + length <= STATE_SESSION_ANSWERS_BYTES_MAX &&
      this.#init.budget.bytes + length <= STATE_ANSWERS_BYTES_MAX;
    if (!fits) throw noRoom();
    return answer;
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#init.budget.bytes += bytes;
  }

  #refuse({ number }: StateOp, call: StateCall | "unknown", error: NexusError): void {
    const { events, ctx } = this.#init;
    events.stateOperated(call, error.kind, 0);
    this.#answer(writeFailure(number, error, ctx.service));
  }

  #answer(answer: Buffer): void {
    this.#open -= 1;
    if (this.#over) return;
    this.#count(answer.length);
    this.#answers.push(answer);
    this.#init.onAnswer();
  }
}

function toCall({ request, traceparent, timeoutMs }: StateOp) {
  return { request, traceparent, deadlineAtMs: Date.now() + timeoutMs };
}

function callUnknown(): NexusError {
  const message = "This router does not know what the operation calls.";
  return new NexusError({ kind: "unimplemented", reason: "METHOD_NOT_FOUND", message });
}

function noRoom(): NexusError {
  const message =
    "The session has no room for the operation or its answer; make the call by itself.";
  return new NexusError({ kind: "unavailable", reason: "STATE_OP_NO_ROOM", message });
}

function cancelled(): NexusError {
  const message = "The agent no longer waits for the operation.";
  return new NexusError({ kind: "cancelled", reason: "CANCELLED", message });
}
