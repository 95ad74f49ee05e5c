import type { Logger } from "@nexus/shared";
import type { State } from "../state/state.ts";
import type { Messenger } from "./messages.ts";

/** Which task a handler runs. */
export interface TaskInfo {
  readonly taskId: string;
  readonly jobId: string;
  /** The task's key in its job. */
  readonly key: string;
  /** Counts from 1. */
  readonly attempt: number;
  /** The lease. Pass it to side effects that can be fenced. */
  readonly fence: bigint;
  /** `name@version` that was asked for. */
  readonly capability: string;
  /** W3C `traceparent` of the job's trace, for tools that do not use OpenTelemetry's context; may be empty. */
  readonly traceparent: string;
}

/** Everything a handler may do besides computing. Its messages are sent under the task's lease. Pass it on as it is, or its functions one by
 * one: a copy by spread, or an object derived from it, lacks what is made at first use. */
export interface TaskContext extends Messenger {
  readonly task: TaskInfo;
  /** Outputs of the tasks that this one depends on, decoded, by input name. A task that did not succeed, and whose edge
   * says CONTINUE, has no entry. */
  readonly upstream: ReadonlyMap<string, unknown>;
  /** Epoch milliseconds by this process's clock; the orchestrator's database decides. */
  readonly deadlineAtMs: number;
  /** Aborts when the lease is over (cancelled, lost, deadline) or a drain ran out of patience. Stop then: the
   * result would be refused. */
  readonly signal: AbortSignal;
  /** Shared state. What is written here is written under the task's lease, and refused once the task is somebody else's. */
  readonly state: State;
  /** Writes structured lines that carry the task's ids. */
  readonly log: Logger;
  /** Says how far the task is, 0 to 1. Cheap; at most one a task waits to be sent, the latest wins. */
  progress(fraction: number, message?: string): void;
  /** Says that the task is alive: progress without a new number. A task with a `heartbeat_timeout` needs this, progress or a
   * chunk several times as often. */
  heartbeat(): void;
  /** Puts out a part of the output for those who watch (`watchTask`), in the order of the calls; at most 64 KiB a call.
   *
   * Best effort: a chunk that is lost with a broken stream is not sent again, and its watchers are told of the gap. What
   * the handler returns does not depend on it.
   *
   * Errors: exhausted/QUEUE_FULL when 4 MiB of this agent's chunks wait already, because the network does not keep
   * up: catch it and wait a little, or let the task fail and be tried again. invalid/PAYLOAD_TOO_LARGE. */
  stream(data: Uint8Array | string): void;
  /** Reads a secret in the name of this task: vault returns it only while this agent holds the task. Not kept here: read it
   * again when it is needed again, so that a new version and a revocation are noticed.
   *
   * Errors: conflict/LEASE_LOST when the task is somebody else's by now; forbidden/SECRET_FORBIDDEN, SCOPE_MISSING;
   * not_found/SECRET_NOT_FOUND; precondition/SECRET_DELETED, SECRET_EXPIRED, SECRET_DESTROYED, VAULT_SEALED;
   * unavailable when vault, or the orchestrator behind it, cannot be asked. When the lease is over it rejects with what
   * `signal` says. */
  secret(path: string, options?: SecretOptions): Promise<TaskSecret>;
}

/** Which version of a secret. */
export interface SecretOptions {
  /** Default: the newest. */
  readonly version?: number;
}

/** A secret's value. Its text and bytes stay out of what is logged or serialised by accident. */
export interface TaskSecret {
  readonly path: string;
  readonly version: number;
  /** The newest version's number; larger when an older one was asked for. */
  readonly latestVersion: number;
  bytes(): Uint8Array;
  /** The value as UTF-8. */
  text(): string;
}
