/** What a TaskError is made from. */
export interface TaskErrorInit {
  /** A stable UPPER_SNAKE word, e.g. `DOCUMENT_UNREADABLE`; retry policies may name it. */
  readonly reason: string;
  /** For people; it is stored with the task, so no secrets. */
  readonly message: string;
  /** True: another attempt may succeed. Default false: a handler that knows why it failed usually knows it is final. */
  readonly retryable?: boolean;
  readonly cause?: unknown;
}

/** Thrown by a handler to fail its task with a reason. A call of NEXUS that was forbidden fails it for good with the call's own reason;
 * any other error with AGENT_ERROR, retryable. */
export class TaskError extends Error {
  readonly reason: string;
  readonly retryable: boolean;

  constructor(init: TaskErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause });
    this.name = "TaskError";
    this.reason = /^[A-Z][A-Z0-9_]{0,127}$/.test(init.reason) ? init.reason : "AGENT_ERROR";
    this.retryable = init.retryable ?? false;
  }
}
