/** Sends committed leases to their agents, with everything they need to begin. */
import {
  type Context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  trace,
} from "@opentelemetry/api";
import { UPSTREAM_MAX_BYTES } from "../domain/limits.ts";
import type { SessionRef } from "../domain/ports.ts";
import { type Payload, slotCostOf } from "../domain/task.ts";
import { readItemMaterial } from "../store/map-store.ts";
import { readMaterial, type TaskMaterial } from "../store/material-store.ts";
import type { LiveLease } from "./agent-entry.ts";
import type { EndLease } from "./lease-ender.ts";
import type { EngineParts } from "./parts.ts";
import { toTraceparent } from "./traceparent.ts";

/** What the assigner needs beside the shared parts. */
export interface AssignerDeps {
  readonly parts: EngineParts;
  /** Ends a lease that cannot be assigned. */
  readonly end: EndLease;
}

/** Most leases whose material is read in one statement. */
const READ_BATCH_MAX = 256;
const NO_UPSTREAM: ReadonlyMap<string, Payload> = new Map();

/** How an assignment's span begins. */
const PRODUCER = { kind: SpanKind.PRODUCER };

/** Owns nothing that lasts: a lease remembers itself whether it was sent. */
export class Assigner {
  readonly #parts: EngineParts;
  readonly #deps: AssignerDeps;
  /** The last trace that was joined: tasks of one job are assigned one after the other. */
  #trace: { readonly traceparent: string; readonly context: Context } | undefined;

  /** Seconds that the tasks just sent have waited. */
  #waits: number[] = [];

  constructor(deps: AssignerDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
  }

  /** Reads the material of leases in one batch and sends them. What cannot be sent now is sent by a later resend(). */
  async assign(leases: readonly LiveLease[]): Promise<void> {
    for (let from = 0; from < leases.length; from += READ_BATCH_MAX) {
      await this.#assignBatch(leases.slice(from, from + READ_BATCH_MAX));
    }
  }

  /** Sends leases again that never got out, or whose agent never said that it began: agents know a task and fence
   * they have already, so a repeat is harmless. */
  resend(leases: Iterable<LiveLease>): Promise<void> {
    const silent = [...leases].filter((live) => !live.accepted);
    return this.assign(silent);
  }

  async #assignBatch(leases: readonly LiveLease[]): Promise<void> {
    if (leases.length === 0) return;
    const items: LiveLease[] = [];
    const unknown: LiveLease[] = [];
    for (const live of leases) {
      if (live.lease.task.spec.isMapItem === true) items.push(live);
      else if (!this.#sendKnown(live)) unknown.push(live);
    }
    this.#tellWaits();
    if (items.length + unknown.length === 0) return;
    const upstream = unknown.filter((live) => live.lease.task.hasUpstream);
    const material = await readMaterial(
      this.#parts.pool,
      unknown.map((live) => live.lease.task.taskId),
      upstream.map((live) => live.lease.task.taskId),
    );
    const itemMaterial = await readItemMaterial(
      this.#parts.pool,
      items.map((live) => live.lease.task.taskId),
    );
    for (const live of leases) {
      const { taskId } = live.lease.task;
      const found = material.get(taskId) ?? itemMaterial.get(taskId);
      if (found !== undefined) this.#send(live, found);
    }
    this.#tellWaits();
  }

  #tellWaits(): void {
    if (this.#waits.length === 0) return;
    this.#parts.events.assigned(this.#waits);
    this.#waits = [];
  }

  /** Sends a task whose input is still in memory, and which has nothing else; false when it has to be read. */
  #sendKnown(live: LiveLease): boolean {
    const known = this.#parts.inputs.take(live.lease.task.taskId);
    if (known === undefined || live.lease.task.hasUpstream) return false;
    this.#send(live, { input: known.payload, upstream: NO_UPSTREAM, tooLarge: false });
    return true;
  }

  #send(live: LiveLease, material: TaskMaterial): void {
    const { lease, agent } = live;
    if (this.#parts.book.get(lease.task.taskId) !== live) return;
    if (material.tooLarge) {
      const message = `The outputs of upstream tasks exceed ${UPSTREAM_MAX_BYTES} bytes.`;
      this.#deps.end(live, { kind: "REJECTED", reason: "INPUT_TOO_LARGE", message, word: "" });
      return;
    }
    const { session } = agent;
    const over = lease.agentEpoch <= agent.endedEpoch;
    if (over || (session !== undefined && session.epoch > lease.agentEpoch)) {
      // It ended between the choice and its commit, so nobody else ends this lease.
      const message = "The agent's session was over before the assignment could be sent.";
      this.#deps.end(live, { kind: "REFUSED", message });
      return;
    }
    if (session === undefined) {
      // Not seen yet, as after a restart: its report, or its absence for too long, decides.
      agent.absentSinceMs ??= this.#parts.nowMs();
      return;
    }
    const ref: SessionRef = {
      namespace: agent.namespace,
      agentId: agent.agentId,
      epoch: lease.agentEpoch,
    };
    const span = this.#startSpan(live);
    live.sent = this.#parts.dispatch.assign(session.router, ref, {
      taskId: lease.task.taskId,
      jobId: lease.task.jobId,
      taskKey: lease.task.key,
      fence: lease.fence,
      attempt: lease.attempt,
      capability: lease.task.spec.capability,
      capabilityVersion: lease.capabilityVersion,
      input: this.#inputOf(live, material),
      upstream: material.upstream,
      timeoutMs: lease.task.spec.startToCloseMs,
      slotCost: slotCostOf(lease.task.spec),
      traceparent: toTraceparent(span.spanContext()),
    });
    span.end();
    if (live.sent && live.readySinceMs !== undefined) {
      this.#waits.push((this.#parts.nowMs() - live.readySinceMs) / 1_000);
    }
  }

  /** The assignment joins the trace of whoever submitted the job, however long ago that was. */
  #startSpan({ lease }: LiveLease): Span {
    const { task } = lease;
    const tracer = trace.getTracer("nexus");
    const span = tracer.startSpan("assign task", PRODUCER, this.#contextOf(task.traceparent));
    if (span.isRecording()) {
      span.setAttributes({
        "nexus.task_id": task.taskId,
        "nexus.agent_id": lease.agentId,
        "nexus.attempt": lease.attempt,
      });
    }
    return span;
  }

  #contextOf(traceparent: string): Context {
    if (this.#trace?.traceparent !== traceparent) {
      this.#trace = { traceparent, context: propagation.extract(ROOT_CONTEXT, { traceparent }) };
    }
    return this.#trace.context;
  }

  #inputOf({ lease }: LiveLease, { input }: TaskMaterial) {
    if (!lease.task.planning) return input;
    const live = this.#parts.fleet.liveCapabilities(lease.task.namespace);
    return this.#parts.plans.writeRequest(input, live);
  }
}
