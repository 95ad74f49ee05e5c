import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Assignment, TaskCancel, TaskUpdateResult } from "@nexus/proto/mesh";
import { type Logger, NexusError } from "@nexus/shared";
import { fromPayload, type PayloadInit, type StoredPayload } from "../payload.ts";
import type { StateAccess } from "../state/bucket.ts";
import type { Capability } from "./capability.ts";
import { Lease } from "./lease.ts";
import type { Mailbox } from "./mailbox.ts";
import type { Outbox, UpdateInit } from "./outbox.ts";
import { RunningContext } from "./running-context.ts";
import { TaskError } from "./task-error.ts";
import { hasReferences, type TaskPayloads, toOutput } from "./task-payloads.ts";
import type { ReadSecret } from "./task-secrets.ts";
import { isThenable } from "./thenable.ts";
import { inTaskSpan } from "./trace.ts";

/** As the orchestrator says it, which may be the first to notice. */
const TOO_LONG = "The attempt took longer than its start_to_close_timeout.";
const DEFAULT_TIMEOUT_MS = 300_000;
/** An unanswered terminal update is sent again after this long: the orchestrator may have been away. */
const RESEND_AFTER_MS = 5_000;
const MESSAGE_LENGTH_MAX = 4_096;

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
    const key = keyOf(assignment);
    const known = this.#leases.get(key);
    if (known !== undefined) {
      this.#sayAgain(known);
      return;
    }
    const { timeout } = assignment;
    const timeoutMs = timeout === undefined ? DEFAULT_TIMEOUT_MS : durationMs(timeout);
    const lease = new Lease(assignment, key, Date.now() + timeoutMs);
    this.#leases.set(key, lease);
    this.#run(lease);
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
      lease.stop(leaseOver("DRAINING"));
    }
  }

  /** Resolves when nothing runs and every end is settled. */
  idle(): Promise<void> {
    if (this.#leases.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idleWaiters.push(resolve);
    });
  }

  #run(lease: Lease): void {
    const slots = Math.max(1, lease.assignment.slotCost);
    this.#running += 1;
    this.#busySlots += slots;
    const over = (): void => {
      this.#running -= 1;
      this.#busySlots -= slots;
    };
    const say = (update: UpdateInit): void => this.#say(lease, update);
    let output: Output | PromiseLike<Output>;
    try {
      output = runHandler({ ...this.#options, lease, say });
    } catch (error) {
      over();
      this.#fail(lease, error);
      return;
    }
    if (isThenable(output)) {
      void this.#await(lease, output).finally(over);
    } else {
      over();
      this.#end(lease, { case: "completed", value: { output } });
    }
  }

  /** Never rejects. */
  async #await(lease: Lease, output: PromiseLike<Output>): Promise<void> {
    this.#begin(lease);
    const stop = (): void => lease.stop(leaseOver("DEADLINE_EXCEEDED", TOO_LONG));
    const timer = setTimeout(stop, lease.deadlineAtMs - Date.now());
    try {
      this.#end(lease, { case: "completed", value: { output: await output } });
    } catch (error) {
      this.#fail(lease, error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Says a word of a handler, behind the one that it has begun. One that goes on after its end is heard no more. */
  #say(lease: Lease, update: UpdateInit): void {
    if (lease.ended !== undefined) return;
    this.#begin(lease);
    this.#options.outbox.update(update);
  }

  /** An end says by itself that its task has begun. */
  #begin(lease: Lease): void {
    if (!lease.begun) this.#sayAgain(lease);
  }

  #fail(lease: Lease, error: unknown): void {
    const { taskId } = lease.assignment;
    this.#options.logger.warn({ err: error, task_id: taskId }, "a task failed");
    this.#end(lease, { case: "failed", value: describeFailure(error, lease) });
  }

  #end(lease: Lease, update: NonNullable<UpdateInit["update"]>): void {
    if (lease.ended !== undefined || !this.#leases.has(lease.key)) return;
    const { taskId, fence } = lease.assignment;
    const word: UpdateInit = { taskId, fence, update };
    lease.ended = { update: word, sentAtMs: Date.now() };
    this.#options.outbox.update(word);
  }

  #sayAgain(lease: Lease): void {
    const { taskId, fence } = lease.assignment;
    if (lease.ended === undefined) {
      lease.begun = true;
      this.#options.outbox.update({ taskId, fence, update: { case: "accepted", value: {} } });
      return;
    }
    lease.ended.sentAtMs = Date.now();
    this.#options.outbox.update(lease.ended.update);
  }

  #drop(key: string, reason: string): void {
    const lease = this.#leases.get(key);
    if (lease === undefined) return;
    if (lease.ended === undefined) lease.stop(leaseOver(reason));
    this.#leases.delete(key);
    if (this.#leases.size > 0) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }
}

function keyOf(lease: { readonly taskId: string; readonly fence: bigint }): string {
  return `${lease.taskId}:${lease.fence}`;
}

type Output = PayloadInit | StoredPayload;

interface Run extends TaskRunnerOptions {
  readonly lease: Lease;
  readonly say: (update: UpdateInit) => void;
}

/** Returns a promise only when there is something to wait for. Errors: those of the handler, at once or by the promise. */
function runHandler(run: Run): Output | PromiseLike<Output> {
  const { assignment } = run.lease;
  return hasReferences(assignment) ? runFetched(run) : runWith(run, assignment);
}

async function runFetched(run: Run): Promise<Output> {
  const { lease, payloads } = run;
  return runWith(run, await payloads.fetch(lease.assignment, lease.signal));
}

function runWith(run: Run, assignment: Assignment): Output | PromiseLike<Output> {
  const wanted = `${assignment.capability}@${assignment.capabilityVersion}`;
  const capability = run.capabilities.get(wanted);
  if (capability === undefined) {
    const message = `This agent does not have ${wanted}.`;
    throw new TaskError({ reason: "CAPABILITY_UNKNOWN", message, retryable: true });
  }
  const input = fromPayload(assignment.input);
  reject("INPUT_INVALID", capability.checkInput(input));
  const ctx = new RunningContext({ ...run, assignment });
  const output = inTaskSpan(assignment, () => capability.handler(ctx, input));
  const finish = (value: unknown) => {
    reject("OUTPUT_INVALID", capability.checkOutput(value));
    return toOutput(value, run.payloads, run.lease);
  };
  return isThenable(output) ? finishLater(output, finish) : finish(output);
}

/** Waits as `await` does: what has a `then` need not be a promise. */
async function finishLater(
  output: PromiseLike<unknown>,
  finish: (value: unknown) => Output | Promise<Output>,
): Promise<Output> {
  return finish(await output);
}

function reject(reason: string, problem: string | undefined): void {
  if (problem !== undefined) throw new TaskError({ reason, message: problem });
}

function leaseOver(reason: string, message = "The lease is over."): TaskError {
  return new TaskError({ reason, message, retryable: true });
}

function describeFailure(error: unknown, { over }: Lease) {
  // A handler that stops because it was told to usually throws something of its own; the cause is what counts.
  const cause = over ?? error;
  if (cause instanceof TaskError) {
    const { reason, retryable, message } = cause;
    return { reason, retryable, message: message.slice(0, MESSAGE_LENGTH_MAX) };
  }
  const message = textOf(cause).slice(0, MESSAGE_LENGTH_MAX);
  // A permission that is missing is missing at the next attempt too.
  if (cause instanceof NexusError && cause.kind === "forbidden") {
    return { reason: cause.reason, message, retryable: false };
  }
  const tooLarge = hasReason(cause, "PAYLOAD_TOO_LARGE");
  return { reason: tooLarge ? "OUTPUT_TOO_LARGE" : "AGENT_ERROR", message, retryable: !tooLarge };
}

/** A handler may throw anything, also what has no text. */
function textOf(thrown: unknown): string {
  try {
    return String(thrown instanceof Error ? thrown.message : thrown);
  } catch {
    return "The handler threw something that cannot be described.";
  }
}

function hasReason(error: unknown, reason: string): boolean {
  return error instanceof Error && "reason" in error && error.reason === reason;
}
