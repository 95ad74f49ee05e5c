/** Runs dead letters again, each as a job of its own: what has ended stays as it is. */
import type { Queryable } from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import {
  type Redrive,
  type RedriveChoice,
  redriveLabels,
  redriveSpec,
} from "../domain/dead-letter.ts";
import type { AuditLeaf } from "../domain/job.ts";
import type { JobEvents } from "../domain/job-event.ts";
import { newJobProgress } from "../domain/job-state.ts";
import type { LiveTask } from "../domain/live-task.ts";
import { inShardOf, toShard } from "../domain/shards.ts";
import { type NewTask, readyTasks } from "../domain/task-plan.ts";
import { appendEvents } from "../store/event-store.ts";
import { insertJobs, type NewJob } from "../store/job-insert.ts";
import { inheritPayloads } from "../store/payload-store.ts";
import {
  copyMaterial,
  type HeldLetter,
  hasMore,
  holdDeadLetters,
  markRedriven,
  readRedriven,
} from "../store/redrive-store.ts";
import { insertTasks } from "../store/task-insert.ts";
import { notOwner } from "../store/writer-session.ts";
import type { EngineParts } from "./parts.ts";
import { publish } from "./publish.ts";
import { recordOnce } from "./recorded-request.ts";

/** Who asks for which dead letters. */
export interface RedriveOrder {
  readonly namespace: string;
  readonly principalId: string;
  readonly requestId: string;
  readonly bodyHash: Uint8Array;
  readonly choice: RedriveChoice;
  readonly traceparent: string;
  readonly leaf?: AuditLeaf | undefined;
}

/** What a call did. */
export interface RedriveResult {
  readonly redrives: readonly Redrive[];
  readonly more: boolean;
}

/** What the redriver needs beside the shared parts. */
export interface RedriverDeps {
  readonly parts: EngineParts;
  readonly onReady: (tasks: readonly { task: LiveTask; delayMs: number }[]) => void;
}

/** A dead letter with the job that it becomes. */
interface Draft {
  readonly letter: HeldLetter;
  readonly job: NewJob;
  readonly task: NewTask;
}

interface Flushed extends RedriveResult {
  readonly drafts: readonly Draft[];
  readonly createdAt: ReadonlyMap<string, Date>;
  readonly events: readonly JobEvents[];
  readonly isRepeat: boolean;
}

/** Owns the redriving of dead letters. */
export class Redriver {
  readonly #parts: EngineParts;
  readonly #deps: RedriverDeps;

  constructor(deps: RedriverDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
  }

  /** Commits a job for each chosen dead letter that was not redriven before; all or none. A repeated request answers
   * with the jobs that the first one made.
   *
   * Errors: not_found/DEAD_LETTER_NOT_FOUND; exhausted/QUEUE_FULL; conflict/REQUEST_ID_REUSED; unavailable/NOT_OWNER. */
  async redrive(order: RedriveOrder): Promise<RedriveResult> {
    const { redrives, more } = await this.#parts.ledger.run(
      (client) => this.#write(client, order),
      (flushed) => {
        if (!flushed.isRepeat) order.leaf?.stored();
        this.#apply(flushed, order);
      },
    );
    return { redrives, more };
  }

  async #write(client: Queryable, order: RedriveOrder): Promise<Flushed> {
    const { namespace, choice } = order;
    // Requests are remembered with a job; this one may make none or many, so it names one that never is.
    const jobId = this.#parts.ids.next("job");
    const earlier = await recordOnce(client, "RedriveDeadLetters", { ...order, jobId });
    const letters = earlier === undefined ? await holdDeadLetters(client, namespace, choice) : [];
    if (earlier === undefined) assertAllFound(choice, letters);
    const drafts = letters
      .filter(({ redrivenJobId }) => redrivenJobId === "")
      .map((letter) => this.#draft(letter, order));
    this.#parts.backlog.assertRoom(namespace, drafts.length);
    const createdAt = await insertJobs(
      client,
      drafts.map(({ job }) => job),
    );
    await insertTasks(
      client,
      drafts.map(({ task }) => task),
    );
    const made = drafts.map(({ letter, task }) => ({
      letterId: letter.taskId,
      taskId: task.taskId,
      jobId: task.jobId,
    }));
    if (made.length > 0) {
      await copyMaterial(client, made);
      await inheritPayloads(
        client,
        made.map(({ jobId }) => jobId),
      );
      await markRedriven(client, made, order);
    }
    const events = await appendEvents(
      client,
      made.map(({ jobId }) => ({ kind: "job", jobId, state: "PENDING", failure: undefined })),
    );
    const redrives = await readRedriven(client, order, choice);
    const more = await hasMore(client, namespace, choice);
    return { drafts, createdAt, events, redrives, more, isRepeat: earlier !== undefined };
  }

  #draft(letter: HeldLetter, order: RedriveOrder): Draft {
    const { namespace, principalId, requestId, bodyHash, traceparent } = order;
    const { planning, priority, hasUpstream, job } = letter;
    const { ids, ledger } = this.#parts;
    const shard = ledger.pickShard();
    if (shard === undefined) throw notOwner("This replica owns no jobs at the moment; try again.");
    const jobId = toShard(ids.next("job"), shard);
    const task: NewTask = {
      taskId: inShardOf(ids.next("task"), jobId),
      jobId,
      namespace,
      ordinal: 0,
      spec: redriveSpec(letter.spec),
      input: undefined,
      priority,
      planning,
      sink: true,
      hasUpstream,
      parents: [],
      pending: 0,
    };
    const submission = {
      namespace,
      principalId,
      requestId,
      bodyHash,
      objective: job.objective,
      priority: job.priority,
      labels: redriveLabels(job.labels, letter.taskId),
      tasks: [],
      planning,
      traceparent,
    };
    return {
      letter,
      task,
      job: { jobId, submission, progress: newJobProgress({ total: 1, blocked: 0 }) },
    };
  }

  #apply({ drafts, createdAt, events }: Flushed, { traceparent }: RedriveOrder): void {
    publish(this.#parts, events);
    const ready = drafts.flatMap(({ task }) =>
      readyTasks([task], createdAt.get(task.jobId)?.getTime() ?? 0, traceparent),
    );
    this.#deps.onReady(ready.map((task) => ({ task, delayMs: 0 })));
    this.#parts.events.submitted(drafts.length, drafts.length);
  }
}

function assertAllFound(choice: RedriveChoice, letters: readonly HeldLetter[]): void {
  if (choice.kind === "filter") return;
  const found = new Set(letters.map(({ taskId }) => taskId));
  const missing = choice.taskIds.find((taskId) => !found.has(taskId));
  if (missing !== undefined) throw deadLetterNotFound(missing);
}

/** Makes the error for what is no dead letter of the caller's namespace. */
export function deadLetterNotFound(taskId: string): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "DEAD_LETTER_NOT_FOUND",
    message: `No task ${taskId} of this namespace has failed for good.`,
  });
}
