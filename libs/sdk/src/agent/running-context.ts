import type { Assignment } from "@nexus/proto/mesh";
import { KiB, type Logger, NexusError } from "@nexus/shared";
import { fromPayload } from "../payload.ts";
import type { StateAccess } from "../state/bucket.ts";
import { causeOfTask } from "./cause.ts";
import type { Mailbox } from "./mailbox.ts";
import type { Outbox } from "./outbox.ts";
import type { TaskContext } from "./task-context.ts";
import type { ReadSecret } from "./task-secrets.ts";

const CHUNK_BYTES_MAX = 64 * KiB;
/** Progress goes out at most this often a task: watchers are people. */
const PROGRESS_INTERVAL_MS = 100;
const PROGRESS_MESSAGE_LENGTH_MAX = 1_024;

/** What createTaskContext needs. */
export interface TaskContextOptions {
  readonly assignment: Assignment;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly outbox: Outbox;
  readonly mailbox: Mailbox;
  readonly readSecret: ReadSecret;
  readonly stateOf: StateAccess;
  readonly logger: Logger;
}

/** Builds what a handler sees of its task. Words said after the lease is over go nowhere. */
export function createTaskContext(options: TaskContextOptions): TaskContext {
  const { assignment, signal, outbox, mailbox } = options;
  const { taskId, jobId, fence, attempt } = assignment;
  const deadlineAtMs = Date.now() + options.timeoutMs;
  const upstream = Object.entries(assignment.upstream).map(
    ([name, payload]) => [name, fromPayload(payload)] as const,
  );
  const report = createProgressReport((progress, message) => {
    if (signal.aborted) return;
    outbox.update({ taskId, fence, update: { case: "progress", value: { progress, message } } });
  });
  let chunks = 0n;
  // Made at first use: most tasks log nothing.
  let log: Logger | undefined;
  return {
    task: {
      taskId,
      jobId,
      fence,
      attempt,
      key: assignment.taskKey,
      capability: `${assignment.capability}@${assignment.capabilityVersion}`,
      traceparent: assignment.traceparent,
    },
    upstream: new Map(upstream),
    deadlineAtMs,
    signal,
    get state() {
      return options.stateOf({ taskId, fence, signal });
    },
    get log() {
      log ??= options.logger.child({ task_id: taskId, job_id: jobId, attempt });
      return log;
    },
    progress: (fraction, message) => report(clampedFraction(fraction), message),
    heartbeat: () => report(undefined, undefined),
    stream: (data) => {
      const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
      if (bytes.byteLength > CHUNK_BYTES_MAX) throw chunkTooLarge(bytes.byteLength);
      if (signal.aborted) return;
      const value = { sequence: chunks + 1n, data: new Uint8Array(bytes) };
      outbox.update({ taskId, fence, update: { case: "chunk", value } });
      chunks += 1n;
    },
    secret: (path, which) => options.readSecret({ taskId, fence, signal }, path, which),
    ...mailbox.messenger(causeOfTask({ taskId, fence }, deadlineAtMs)),
  };
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
