import type { Assignment } from "@nexus/proto/mesh";
import type { Speaker, UpdateInit, Word } from "./outbox.ts";
import type { TaskError } from "./task-error.ts";

/** A task in this agent's hands, and its end until that is committed. */
export class Lease implements Speaker {
  readonly assignment: Assignment;
  /** By this process's clock. */
  readonly deadlineAtMs: number;
  /** The word was said that the task has begun. */
  begun = false;
  ended: UpdateInit | undefined;
  /** When its end was first seen to have no answer since it was said last. */
  unansweredAtMs: number | undefined;
  /** Kept by the outbox. */
  waiting: Word | undefined;
  /** An earlier lease of the same task; kept by Leases. */
  older: Lease | undefined;
  #over: TaskError | undefined;
  #abort: AbortController | undefined;

  constructor(assignment: Assignment, deadlineAtMs: number) {
    this.assignment = assignment;
    this.deadlineAtMs = deadlineAtMs;
  }

  /** Why nobody waits for its task any more; undefined while somebody does. */
  get over(): TaskError | undefined {
    return this.#over;
  }

  /** Made at first use: a handler that returns at once has no need of its signal, which costs more than the rest of a small task. */
  get abort(): AbortController {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#over !== undefined) this.#abort.abort(this.#over);
    }
    return this.#abort;
  }

  /** Aborts when the lease is over. */
  get signal(): AbortSignal {
    return this.abort.signal;
  }

  /** Tells its handler to stop. The first reason counts. */
  stop(reason: TaskError): void {
    if (this.#over !== undefined) return;
    this.#over = reason;
    this.#abort?.abort(reason);
  }
}
