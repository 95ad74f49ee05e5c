/** Admits plans: what a planner agent answered becomes tasks only if the whole of it can run. */
import { NexusError } from "@nexus/shared";
import { findGraphProblems } from "../domain/graph.ts";
import { PLAN_TASK_KEY } from "../domain/limits.ts";
import type { LiveTask } from "../domain/live-task.ts";
import type { PlanReading, SessionRef } from "../domain/ports.ts";
import { inShardOf } from "../domain/shards.ts";
import { usesOf } from "../domain/stored-payload.ts";
import type { Payload, TaskSpec } from "../domain/task.ts";
import { planTasks } from "../domain/task-plan.ts";
import { usePayloads } from "../store/payload-store.ts";
import type { LiveLease } from "./agent-entry.ts";
import type { AdmittedPlan, WordOutcome } from "./lease-orders.ts";
import type { EngineParts } from "./parts.ts";
import type { Settler } from "./settler.ts";

/** Most problems named in one rejection. */
const PROBLEMS_NAMED_MAX = 16;
const RESERVED_KEYS: ReadonlySet<string> = new Set([PLAN_TASK_KEY]);
const FIRST_PLANNED_ORDINAL = 1;

interface PlannerAnswer {
  readonly by: SessionRef;
  readonly output: Payload;
  readonly reading: PlanReading;
  /** Why its tasks may not wait. */
  readonly noRoom: string | undefined;
}

/** Owns the admission of plans. */
export class Planner {
  readonly #parts: EngineParts;
  readonly #settler: Settler;

  constructor(parts: EngineParts, settler: Settler) {
    this.#parts = parts;
    this.#settler = settler;
  }

  /** Ends a planning task: its tasks are inserted in the same transaction, or it fails with PLAN_REJECTED for good. */
  async complete(live: LiveLease, by: SessionRef, output: Payload): Promise<WordOutcome> {
    const { namespace } = live.lease.task;
    const { backlog, plans } = this.#parts;
    const reading = plans.readPlan(output);
    const tasks = reading.ok ? reading.specs.length : 0;
    const noRoom = backlog.findNoRoomToGrow(namespace, tasks);
    backlog.hold(namespace, tasks);
    try {
      return await this.#complete(live, { by, output, reading, noRoom });
    } finally {
      backlog.release(namespace, tasks);
    }
  }

  async #complete(
    live: LiveLease,
    { by, output, reading, noRoom }: PlannerAnswer,
  ): Promise<WordOutcome> {
    const { lease } = live;
    const order = { taskId: lease.task.taskId, fence: lease.fence, by };
    const problems =
      noRoom === undefined
        ? await this.#findProblems(lease.task, reading)
        : [`tasks: QUEUE_FULL: ${noRoom}`];
    if (!reading.ok || problems.length > 0) {
      return this.#settler.end({
        ...order,
        ending: {
          kind: "REJECTED",
          reason: "PLAN_REJECTED",
          message: describe(problems),
          word: "COMPLETED",
        },
      });
    }
    const plan = this.#admit(live, reading);
    return this.#settler.end({ ...order, ending: { kind: "COMPLETED", output }, plan });
  }

  async #findProblems(job: LiveTask, reading: PlanReading): Promise<string[]> {
    if (!reading.ok) return [...reading.problems];
    const { specs } = reading;
    const graph = findGraphProblems(specs, RESERVED_KEYS).map(
      ({ reason, field, description }) => `${field}: ${reason}: ${description}`,
    );
    const problems = [...graph, ...this.#findUnservable(job.namespace, specs)];
    return problems.length > 0 ? problems : this.#bindInputs(job, specs);
  }

  /** Inputs that are stored apart are bound to the job, which is open. */
  async #bindInputs(job: LiveTask, specs: readonly TaskSpec[]): Promise<string[]> {
    const inputs = specs.map(({ input }) => input);
    try {
      await usePayloads(this.#parts.pool, usesOf(job, inputs));
      return [];
    } catch (error) {
      if (!NexusError.is(error, "not_found")) throw error;
      return [`tasks: an input is not stored: ${error.message}`];
    }
  }

  /** Every capability needs an agent that is connected now, or the plan could only wait. */
  #findUnservable(namespace: string, specs: readonly TaskSpec[]): string[] {
    const checked = new Map<string, boolean>();
    const problems: string[] = [];
    for (const [index, { capability, versionRange }] of specs.entries()) {
      const wanted = versionRange === "" ? capability : `${capability}@${versionRange}`;
      let live = checked.get(wanted);
      if (live === undefined) {
        live = this.#parts.fleet.hasLiveSkill(namespace, capability, versionRange);
        checked.set(wanted, live);
        if (!live) problems.push(`tasks[${index}].capability: no live agent has ${wanted}`);
      }
    }
    return problems;
  }

  #admit({ lease }: LiveLease, reading: PlanReading & { ok: true }): AdmittedPlan {
    const { jobId, namespace, priority, spec } = lease.task;
    const tasks = planTasks(
      reading.specs,
      {
        jobId,
        namespace,
        // A planning task has the job's priority and none of its own.
        priority: priority - spec.priority,
        firstOrdinal: FIRST_PLANNED_ORDINAL,
        planning: false,
      },
      () => inShardOf(this.#parts.ids.next("task"), jobId),
    );
    return { tasks, summary: reading.summary };
  }
}

function describe(problems: readonly string[]): string {
  const named = problems.slice(0, PROBLEMS_NAMED_MAX).join("; ");
  const more = problems.length - PROBLEMS_NAMED_MAX;
  return more > 0 ? `${named}; and ${more} more` : named;
}
