import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Assignment, TaskCancel, TaskUpdateResult } from "@nexus/proto/mesh";
import type { Logger } from "@nexus/shared";
import { fromPayload } from "../payload.ts";
import type { StateAccess } from "../state/bucket.ts";
import type { Capability } from "./capability.ts";
import type { Mailbox } from "./mailbox.ts";
import type { Outbox, UpdateInit } from "./outbox.ts";
import { createTaskContext } from "./running-context.ts";
import { TaskError } from "./task-error.ts";
import { hasReferences, type TaskPayloads, toOutput } from "./task-payloads.ts";
import type { ReadSecret } from "./task-secrets.ts";
import { inTaskSpan } from "./trace.ts";

const DEFAULT_TIMEOUT_MS = 300_000;
/** An unanswered terminal update is sent again after this long: the orchestrator may have been away. */
const RESEND_AFTER_MS = 5_000;
const MESSAGE_LENGTH_MAX = 4_096;

interface Lease {
  readonly assignment: Assignment;
  readonly abort: AbortController;
  ended: { readonly update: UpdateInit; sentAtMs: number } | undefined;
}

/** What a TaskRunner needs. */
export interface TaskRunnerOptions {
  readonly capabilities: ReadonlyMap<string, Capability>;
  readonly outbox: Outbox;
  readonly mailbox: Mailbox;
  readonly readSecret: ReadSecret;
  readonly stateOf: StateAccess;
  readonly payloads: TaskPayloads;
  readonly logger: Logger;
}

/** Runs an agent's leases and remembers their ends until they are committed.
 *
 * Leases are keyed by task and fence, so that a repeated assignment never runs twice. */
export class TaskRunner {
  readonly #options: TaskRunnerOptions;
  readonly #leases = new Map<string, Lease>();
  #idleWaiters: (() => void)[] = [];
  #running = 0;
  #busySlots = 0;

  constructor(options: TaskRunnerOptions) {
    this.#options = options;
  }

  /** Tasks in hand. */
  get running(): number {
    return this.#running;
  }

  /** Slots taken by tasks in hand. */
  get busySlots(): number {
    return this.#busySlots;
  }

  /** Begins a task. For a lease that is known already it only repeats what was said about it. */
  assign(assignment: Assignment): void {
    const known = this.#leases.get(keyOf(assignment));
    if (known !== undefined) {
      this.#sayAgain(known);
      return;
    }
    const lease: Lease = { assignment, abort: new AbortController(), ended: undefined };
    this.#leases.set(keyOf(assignment), lease);
    this.#sayAgain(lease);
    void this.#run(lease);
  }

  /** The lease is over: stops the task and forgets it. */
  cancel(cancel: TaskCancel): void {
    this.#drop(keyOf(cancel), cancel.reason);
  }

  /** The orchestrator's word on an end: committed or stale, either way the task is over. */
  settle(result: TaskUpdateResult): void {
    this.#drop(keyOf(result), "LEASE_LOST");
  }

  /** The session lives on after a broken stream: says again what may have been lost with it. */
  resumed(): void {
    for (const lease of this.#leases.values()) this.#sayAgain(lease);
  }

  /** The session is a new one: every lease is over. */
  leasesLost(): void {
    for (const key of this.#leases.keys()) this.#drop(key, "LEASE_LOST");
  }

  /** Says unanswered ends again: the orchestrator may have been away. Call it with every heartbeat. */
  resendOverdue(): void {
    const before = Date.now() - RESEND_AFTER_MS;
    for (const lease of this.#leases.values()) {
      if (lease.ended !== undefined && lease.ended.sentAtMs < before) this.#sayAgain(lease);
    }
  }

  /** Gives back everything that still runs. */
  releaseAll(message: string): void {
    for (const lease of this.#leases.values()) {
      if (lease.ended !== undefined) continue;
      this.#end(lease, { case: "released", value: { message } });
      lease.abort.abort(leaseOver("DRAINING"));
    }
  }

  /** Resolves when nothing runs and every end is settled. */
  idle(): Promise<void> {
    if (this.#leases.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idleWaiters.push(resolve);
    });
  }

  async #run(lease: Lease): Promise<void> {
    const { assignment, abort } = lease;
    const timeoutMs = assignment.timeout ? durationMs(assignment.timeout) : DEFAULT_TIMEOUT_MS;
    const timer = setTimeout(() => abort.abort(leaseOver("DEADLINE_EXCEEDED")), timeoutMs);
    const slots = Math.max(1, assignment.slotCost);
    this.#running += 1;
    this.#busySlots += slots;
    try {
      const output = await runHandler(this.#options, lease, timeoutMs);
      this.#end(lease, { case: "completed", value: { output } });
    } catch (error) {
      this.#options.logger.warn({ err: error, task_id: assignment.taskId }, "a task failed");
      this.#end(lease, { case: "failed", value: describeFailure(error, abort.signal) });
    } finally {
      this.#running -= 1;
      this.#busySlots -= slots;
      clearTimeout(timer);
    }
  }

  #end(lease: Lease, update: NonNullable<UpdateInit["update"]>): void {
    if (lease.ended !== undefined || !this.#leases.has(keyOf(lease.assignment))) return;
    const { taskId, fence } = lease.assignment;
    const word: UpdateInit = { taskId, fence, update };
    lease.ended = { update: word, sentAtMs: Date.now() };
    this.#options.outbox.update(word);
  }

  #sayAgain(lease: Lease): void {
    const { taskId, fence } = lease.assignment;
    if (lease.ended === undefined) {
      this.#options.outbox.update({ taskId, fence, update: { case: "accepted", value: {} } });
      return;
    }
    lease.ended.sentAtMs = Date.now();
    this.#options.outbox.update(lease.ended.update);
  }

  #drop(key: string, reason: string): void {
    const lease = this.#leases.get(key);
    if (lease === undefined) return;
    if (lease.ended === undefined) lease.abort.abort(leaseOver(reason));
    this.#leases.delete(key);
    if (this.#leases.size > 0) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }
}

function keyOf(lease: { readonly taskId: string; readonly fence: bigint }): string {
  return `${lease.taskId}:${lease.fence}`;
}

async function runHandler(options: TaskRunnerOptions, lease: Lease, timeoutMs: number) {
  const { signal } = lease.abort;
  const assignment = hasReferences(lease.assignment)
    ? await options.payloads.fetch(lease.assignment, signal)
    : lease.assignment;
  const capability = options.capabilities.get(
    `${assignment.capability}@${assignment.capabilityVersion}`,
  );
  if (capability === undefined) {
    const message = `This agent does not have ${assignment.capability}@${assignment.capabilityVersion}.`;
    throw new TaskError({ reason: "CAPABILITY_UNKNOWN", message, retryable: true });
  }
  const input = fromPayload(assignment.input);
  reject("INPUT_INVALID", capability.checkInput(input));
  const ctx = createTaskContext({ ...options, assignment, signal, timeoutMs });
  const output = await inTaskSpan(assignment, async () => capability.handler(ctx, input));
  reject("OUTPUT_INVALID", capability.checkOutput(output));
  return toOutput(output, options.payloads, signal);
}

function reject(reason: string, problem: string | undefined): void {
  if (problem !== undefined) throw new TaskError({ reason, message: problem });
}

function leaseOver(reason: string): TaskError {
  return new TaskError({ reason, message: "The lease is over.", retryable: true });
}

function describeFailure(error: unknown, signal: AbortSignal) {
  // A handler that stops because it was told to usually throws something of its own; the cause is what counts.
  const cause: unknown = signal.aborted ? signal.reason : error;
  if (cause instanceof TaskError) {
    const { reason, retryable, message } = cause;
    return { reason, retryable, message: message.slice(0, MESSAGE_LENGTH_MAX) };
  }
  const tooLarge = hasReason(cause, "PAYLOAD_TOO_LARGE");
  const text = cause instanceof Error ? cause.message : String(cause);
  const message = text.slice(0, MESSAGE_LENGTH_MAX);
  return { reason: tooLarge ? "OUTPUT_TOO_LARGE" : "AGENT_ERROR", message, retryable: !tooLarge };
}

function hasReason(error: unknown, reason: string): boolean {
  return error instanceof Error && "reason" in error && error.reason === reason;
}
