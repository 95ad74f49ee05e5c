/** The operations on state of one stream: begun as they come, answered as they end, over with the stream. */
import { StateService } from "@nexus/proto/mesh";
import {
  type CallContext,
  type InnerMethod,
  type ServiceImplementation,
  serveInside,
  toPublicError,
} from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import { Fifo } from "../../domain/fifo.ts";
import { FRAME_WITH_ANSWERS_MAX, STATE_OPS_MAX } from "../../domain/limits.ts";
import { frameInvalid } from "../../domain/mesh-errors.ts";
import type { StateEvents } from "../../domain/state/state-ports.ts";
import { type StateCall, type StateOp, writeAnswer, writeFailure } from "../wire/state-op.ts";

/** The methods that operations call. */
export type StateMethods = Readonly<Record<StateCall, InnerMethod>>;

/** Serves operations by the handlers that serve the methods' own calls. */
export function createStateMethods(
  handlers: Pick<
    ServiceImplementation<typeof StateService>,
    "batchGetEntries" | "writeEntries" | "transact"
  >,
): StateMethods {
  const { batchGetEntries, writeEntries, transact } = StateService.method;
  return {
    get: serveInside(batchGetEntries, handlers.batchGetEntries),
    write: serveInside(writeEntries, handlers.writeEntries),
    transact: serveInside(transact, handlers.transact),
  };
}

/** What operations need. */
export interface StateOpsInit {
  readonly methods: StateMethods;
  readonly events: Pick<StateEvents, "stateOperated">;
  /** Of the stream: its principal is the caller. */
  readonly ctx: CallContext;
  /** An answer is there. */
  readonly onAnswer: () => void;
}

/** Bounded by STATE_OPS_MAX, answers that were not written included. */
export class StateOps {
  readonly #init: StateOpsInit;
  /** Each ends an operation that nobody waits for any more. */
  readonly #running = new Set<AbortController>();
  readonly #answers = new Fifo<Buffer>();
  #over = false;

  constructor(init: StateOpsInit) {
    this.#init = init;
  }

  /** Begins an operation. Errors: invalid/FRAME_INVALID beyond the credit. */
  begin(op: StateOp): void {
    if (this.#over) return;
    if (this.#running.size + this.#answers.length >= STATE_OPS_MAX) {
      throw frameInvalid(`At most ${STATE_OPS_MAX} state operations may have no answer yet.`);
    }
    void this.#run(op);
  }

  /** Takes answers for a frame that has so many bytes already; an empty one has room for any. */
  *take(frameBytes: number): Generator<Buffer> {
    let bytes = frameBytes;
    for (let next = this.#answers.peek(); next !== undefined; next = this.#answers.peek()) {
      if (bytes > 0 && bytes + next.length > FRAME_WITH_ANSWERS_MAX) return;
      bytes += next.length;
      this.#answers.shift();
      yield next;
    }
  }

  /** The stream is over: what was not begun is left out, and nobody gets the rest. */
  end(reason: NexusError): void {
    this.#over = true;
    this.#answers.remove(() => true);
    for (const abort of this.#running) abort.abort(reason);
  }

  /** Never rejects. */
  async #run(op: StateOp): Promise<void> {
    const { methods, events, ctx } = this.#init;
    const beganAtMs = performance.now();
    const abort = new AbortController();
    this.#running.add(abort);
    let outcome = "ok";
    let answer: Buffer;
    try {
      answer = writeAnswer(
        op,
        await withinTime(op, abort, () => methods[op.call](ctx, toCall(op, abort))),
      );
    } catch (thrown) {
      const { logger } = ctx;
      const where = { logger, traceId: undefined, method: `state_ops/${op.call}` };
      const error = toPublicError(thrown, where);
      outcome = error.kind;
      answer = writeFailure(op, error, ctx.service);
    }
    this.#running.delete(abort);
    events.stateOperated(op.call, outcome, performance.now() - beganAtMs);
    if (this.#over) return;
    this.#answers.push(answer);
    this.#init.onAnswer();
  }
}

function toCall({ request, traceparent, timeoutMs }: StateOp, { signal }: AbortController) {
  return { request, traceparent, deadlineAtMs: Date.now() + timeoutMs, signal };
}

/** The deadline overtakes a method that does not listen, as it does with calls of their own. */
async function withinTime<T>(
  { timeoutMs }: StateOp,
  abort: AbortController,
  run: () => Promise<T>,
): Promise<T> {
  const { signal } = abort;
  const timer = setTimeout(() => abort.abort(deadlineError()), timeoutMs);
  try {
    return await new Promise<T>((resolve, reject) => {
      signal.addEventListener("abort", () => reject(NexusError.from(signal.reason)), {
        once: true,
      });
      run().then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
  }
}

function deadlineError(): NexusError {
  return new NexusError({
    kind: "deadline",
    reason: "DEADLINE_EXCEEDED",
    message: "The deadline of the operation passed before its answer was ready.",
  });
}
