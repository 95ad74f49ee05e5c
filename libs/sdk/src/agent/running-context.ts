import type { Assignment } from "@nexus/proto/mesh";
import { KiB, type Logger, NexusError } from "@nexus/shared";
import { fromPayload } from "../payload.ts";
import type { StateAccess } from "../state/bucket.ts";
import type { State } from "../state/state.ts";
import { causeOfTask } from "./cause.ts";
import { HandlerContext } from "./handler-context.ts";
import type { Lease } from "./lease.ts";
import type { Mailbox } from "./mailbox.ts";
import type { Messenger } from "./messages.ts";
import type { UpdateInit } from "./outbox.ts";
import type { TaskContext, TaskInfo } from "./task-context.ts";
import type { ReadSecret } from "./task-secrets.ts";

const CHUNK_BYTES_MAX = 64 * KiB;
/** Progress goes out at most this often a task: watchers are people. */
const PROGRESS_INTERVAL_MS = 100;
const PROGRESS_MESSAGE_LENGTH_MAX = 1_024;

/** What the contexts of an agent's tasks share. */
export interface TaskTools {
  /** Says a word about a lease. */
  readonly say: (lease: Lease, update: UpdateInit) => void;
  readonly mailbox: Pick<Mailbox, "messenger">;
  readonly readSecret: ReadSecret;
  readonly stateOf: StateAccess;
  readonly logger: Logger;
}

/** What a handler sees of its task. What it does not use is not made. Words said after the lease is over, or its end is said, go
 * nowhere. */
export class RunningContext extends HandlerContext implements TaskContext {
  readonly task: TaskInfo;
  readonly deadlineAtMs: number;
  readonly #tools: TaskTools;
  readonly #lease: Lease;
  readonly #assignment: Assignment;
  #upstream: ReadonlyMap<string, unknown> | undefined;
  #log: Logger | undefined;
  #report: Report | undefined;
  #chunks = 0n;

  /** `assignment` has the bodies that the lease's own refers to. */
  constructor(tools: TaskTools, lease: Lease, assignment: Assignment, capability: string) {
    super();
    this.#tools = tools;
    this.#lease = lease;
    this.#assignment = assignment;
    this.deadlineAtMs = lease.deadlineAtMs;
    const { taskId, jobId, fence, attempt, traceparent } = assignment;
    this.task = {
      taskId,
      jobId,
      fence,
      attempt,
      key: assignment.taskKey,
      capability,
      traceparent,
    };
  }

  protected override makeMessenger(): Messenger {
    const { taskId, fence } = this.task;
    return this.#tools.mailbox.messenger(causeOfTask({ taskId, fence }, this.deadlineAtMs));
  }

  protected override makeAbort(): AbortController {
    return this.#lease.abort;
  }

  get upstream(): ReadonlyMap<string, unknown> {
    this.#upstream ??= readUpstream(this.#assignment);
    return this.#upstream;
  }

  get state(): State {
    return this.#tools.stateOf(this.#leased());
  }

  get log(): Logger {
    const { taskId, jobId, attempt } = this.task;
    this.#log ??= this.#tools.logger.child({ task_id: taskId, job_id: jobId, attempt });
    return this.#log;
  }

  // Functions and not methods, so that a handler may take them out of its context.
  get progress(): TaskContext["progress"] {
    return (fraction, message) => this.#reportProgress(clampedFraction(fraction), message);
  }

  get heartbeat(): TaskContext["heartbeat"] {
    return () => this.#reportProgress(undefined, undefined);
  }

  get stream(): TaskContext["stream"] {
    return (data) => this.#putOut(data);
  }

  get secret(): TaskContext["secret"] {
    return (path, which) => this.#tools.readSecret(this.#leased(), path, which);
  }

  #leased(): { taskId: string; fence: bigint; signal: AbortSignal } {
    const { taskId, fence } = this.task;
    return { taskId, fence, signal: this.signal };
  }

  #say(update: NonNullable<UpdateInit["update"]>): void {
    const { taskId, fence } = this.task;
    if (this.#lease.over === undefined) this.#tools.say(this.#lease, { taskId, fence, update });
  }

  #reportProgress(fraction: number | undefined, message: string | undefined): void {
    this.#report ??= createProgressReport((progress, text) =>
      this.#say({ case: "progress", value: { progress, message: text } }),
    );
    this.#report(fraction, message);
  }

  #putOut(data: Uint8Array | string): void {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    if (bytes.byteLength > CHUNK_BYTES_MAX) throw chunkTooLarge(bytes.byteLength);
    if (this.#lease.over !== undefined) return;
    const value = { sequence: this.#chunks + 1n, data: new Uint8Array(bytes) };
    this.#say({ case: "chunk", value });
    this.#chunks += 1n;
  }
}

function readUpstream({ upstream }: Assignment): ReadonlyMap<string, unknown> {
  const entries = Object.entries(upstream);
  return new Map(entries.map(([name, payload]) => [name, fromPayload(payload)] as const));
}

/** What is no number says nothing about how far a task is, and would end the session. */
function clampedFraction(fraction: number): number | undefined {
  return Number.isNaN(fraction) ? undefined : Math.min(1, Math.max(0, fraction));
}

type Report = (fraction: number | undefined, message: string | undefined) => void;

/** Sends the first word at once and after that the latest one at most every interval. */
function createProgressReport(send: (progress: number, message: string) => void): Report {
  let progress = 0;
  let text = "";
  let lastAtMs = 0;
  let timer: NodeJS.Timeout | undefined;

  function flush(): void {
    timer = undefined;
    lastAtMs = Date.now();
    send(progress, text);
  }

  return (fraction, message) => {
    progress = fraction ?? progress;
    text = (message ?? text).slice(0, PROGRESS_MESSAGE_LENGTH_MAX);
    if (timer !== undefined) return;
    const waitMs = lastAtMs + PROGRESS_INTERVAL_MS - Date.now();
    if (waitMs <= 0) flush();
    else timer = setTimeout(flush, waitMs).unref();
  };
}

function chunkTooLarge(bytes: number): NexusError {
  return new NexusError({
    kind: "invalid",
    reason: "PAYLOAD_TOO_LARGE",
    message: `A chunk has ${bytes} bytes, the limit is ${CHUNK_BYTES_MAX}.`,
  });
}
