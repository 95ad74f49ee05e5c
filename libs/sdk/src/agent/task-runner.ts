import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Assignment, TaskCancel, TaskUpdateResult } from "@nexus/proto/mesh";
import { type Logger, NexusError } from "@nexus/shared";
import { fromPayload, type PayloadInit, type StoredPayload } from "../payload.ts";
import type { StateAccess } from "../state/bucket.ts";
import type { Capability } from "./capability.ts";
import { Lease } from "./lease.ts";
import { type LeaseName, Leases } from "./leases.ts";
import type { Mailbox } from "./mailbox.ts";
import type { Outbox, UpdateInit } from "./outbox.ts";
import { RunningContext, type TaskTools } from "./running-context.ts";
import { TaskError } from "./task-error.ts";
import { hasReferences, type TaskPayloads, toOutput } from "./task-payloads.ts";
import type { ReadSecret } from "./task-secrets.ts";
import { isThenable } from "./thenable.ts";
import { inTaskSpan, isTraced } from "./trace.ts";

/** As the orchestrator says it, which may be the first to notice. */
const TOO_LONG = "The attempt took longer than its start_to_close_timeout.";
const DEFAULT_TIMEOUT_MS = 300_000;
/** An unanswered terminal update is sent again after this long: the orchestrator may have been away. Less than lies between two heartbeats
 * of the default interval, so that the second one after it says it again; with a shorter interval a later one does. */
const RESEND_AFTER_MS = 4_500;
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

/** Runs an agent's leases and remembers their ends until they are committed. */
export class TaskRunner {
  readonly #options: TaskRunnerOptions;
  readonly #tools: RunTools;
  readonly #leases = new Leases();
  #idleWaiters: (() => void)[] = [];
  #running = 0;
  #busySlots = 0;

  constructor(options: TaskRunnerOptions) {
    this.#options = options;
    const say: TaskTools["say"] = (lease, update) => this.#say(lease, update);
    this.#tools = { ...options, say, traced: false, last: undefined };
  }

  /** Tasks in hand. */
  get running(): number {
    return this.#running;
  }

  /** Slots taken by tasks in hand. */
  get busySlots(): number {
    return this.#busySlots;
  }

  /** Begins the tasks of a frame. For a lease that is known already it only repeats what was said about it. */
  assign(assignments: readonly Assignment[]): void {
    const nowMs = Date.now();
    this.#tools.traced = isTraced();
    for (const assignment of assignments) this.#assign(assignment, nowMs);
  }

  #assign(assignment: Assignment, nowMs: number): void {
    const known = this.#leases.get(assignment);
    if (known !== undefined) {
      this.#sayAgain(known);
      return;
    }
    const { timeout } = assignment;
    const timeoutMs = timeout === undefined ? DEFAULT_TIMEOUT_MS : durationMs(timeout);
    const lease = new Lease(assignment, nowMs + timeoutMs);
    this.#leases.add(lease);
    this.#run(lease);
  }

  /** The lease is over: stops the task and forgets it. */
  cancel(cancel: TaskCancel): void {
    this.#drop(cancel, cancel.reason);
  }

  /** The orchestrator's word on an end: committed or stale, either way the task is over. */
  settle(result: TaskUpdateResult): void {
    this.#drop(result, "LEASE_LOST");
  }

  /** The session lives on after a broken stream: says again what may have been lost with it. */
  resumed(): void {
    for (const lease of this.#leases.values()) this.#sayAgain(lease);
  }

  /** The session is a new one: every lease is over. */
  leasesLost(): void {
    for (const { assignment } of this.#leases.values()) this.#drop(assignment, "LEASE_LOST");
  }

  /** Says unanswered ends again: the orchestrator may have been away. Call it with every heartbeat. An end has its time from the first such
   * look: to note it for each as it is said costs a look at the clock for every task, and nearly all are answered by then. */
  resendOverdue(): void {
    const nowMs = Date.now();
    for (const lease of this.#leases.values()) {
      if (lease.ended === undefined) continue;
      lease.unansweredAtMs ??= nowMs;
      if (nowMs - lease.unansweredAtMs >= RESEND_AFTER_MS) this.#sayAgain(lease);
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
    let output: Output | PromiseLike<Output>;
    try {
      output = runHandler(this.#tools, lease);
    } catch (error) {
      this.#over(slots);
      this.#fail(lease, error);
      return;
    }
    if (isThenable(output)) {
      void this.#await(lease, output).finally(() => this.#over(slots));
    } else {
      this.#over(slots);
      this.#end(lease, { case: "completed", value: { output } });
    }
  }

  #over(slots: number): void {
    this.#running -= 1;
    this.#busySlots -= slots;
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
    this.#options.outbox.update(update, lease);
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
    if (lease.ended !== undefined || !this.#leases.has(lease)) return;
    const { taskId, fence } = lease.assignment;
    lease.ended = { taskId, fence, update };
    this.#sayEnd(lease, lease.ended);
  }

  #sayAgain(lease: Lease): void {
    const { taskId, fence } = lease.assignment;
    if (lease.ended === undefined) {
      lease.begun = true;
      const update: UpdateInit = { taskId, fence, update: { case: "accepted", value: {} } };
      this.#options.outbox.update(update, lease);
    } else {
      this.#sayEnd(lease, lease.ended);
    }
  }

  #sayEnd(lease: Lease, end: UpdateInit): void {
    lease.unansweredAtMs = undefined;
    this.#options.outbox.update(end, lease);
  }

  #drop(name: LeaseName, reason: string): void {
    const lease = this.#leases.take(name);
    if (lease === undefined) return;
    if (lease.ended === undefined) lease.stop(leaseOver(reason));
    if (this.#leases.size > 0) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }
}

type Output = PayloadInit | StoredPayload;
/** What runs share; made once, as a task of a busy agent takes no longer than a few objects do. */
interface RunTools extends TaskRunnerOptions {
  readonly say: TaskTools["say"];
  /** This process traces; asked once for each frame. */
  traced: boolean;
  /** What the last task was for: most are for the same. */
  last: Capability | undefined;
}

/** Returns a promise only when there is something to wait for. Errors: those of the handler, at once or by the promise. */
function runHandler(tools: RunTools, lease: Lease): Output | PromiseLike<Output> {
  const { assignment } = lease;
  return hasReferences(assignment) ? runFetched(tools, lease) : runWith(tools, lease, assignment);
}

async function runFetched(tools: RunTools, lease: Lease): Promise<Output> {
  const fetched = await tools.payloads.fetch(lease.assignment, lease.signal);
  return runWith(tools, lease, fetched);
}

function runWith(
  tools: RunTools,
  lease: Lease,
  assignment: Assignment,
): Output | PromiseLike<Output> {
  const capability = findCapability(tools, assignment);
  const input = fromPayload(assignment.input);
  reject("INPUT_INVALID", capability.checkInput(input));
  const ctx = new RunningContext(tools, lease, assignment, capability.spec);
  const output = tools.traced
    ? inTaskSpan(assignment, () => capability.handler(ctx, input))
    : capability.handler(ctx, input);
  return isThenable(output)
    ? finishLater(tools, lease, { capability, output })
    : finish(tools, lease, { capability, output });
}

/** To compare two names costs less than to make a key of them. */
function findCapability(tools: RunTools, assignment: Assignment): Capability {
  const { capability: name, capabilityVersion: version } = assignment;
  const { last } = tools;
  if (last?.name === name && last.version === version) return last;
  const wanted = `${name}@${version}`;
  const found = tools.capabilities.get(wanted);
  if (found === undefined) {
    const message = `This agent does not have ${wanted}.`;
    throw new TaskError({ reason: "CAPABILITY_UNKNOWN", message, retryable: true });
  }
  tools.last = found;
  return found;
}

/** What the handler of a capability returned. */
interface Returned<T> {
  readonly capability: Capability;
  readonly output: T;
}

function finish(
  tools: RunTools,
  lease: Lease,
  { capability, output }: Returned<unknown>,
): Output | Promise<Output> {
  reject("OUTPUT_INVALID", capability.checkOutput(output));
  return toOutput(output, tools.payloads, lease);
}

/** Waits as `await` does: what has a `then` need not be a promise. */
async function finishLater(
  tools: RunTools,
  lease: Lease,
  { capability, output }: Returned<PromiseLike<unknown>>,
): Promise<Output> {
  return finish(tools, lease, { capability, output: await output });
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
