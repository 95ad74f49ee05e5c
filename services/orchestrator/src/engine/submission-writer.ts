/** Writes the submissions of one flush: requests, jobs, tasks, first events, and the leases of tasks that an agent gets at once. */
import type { Transaction } from "@nexus/postgres";
import type { JobSubmission } from "../domain/job.ts";
import { JobDeltas } from "../domain/job-deltas.ts";
import type { JobChange, JobEvents, TaskChange } from "../domain/job-event.ts";
import { applyJobDelta, type JobProgress, newJobProgress } from "../domain/job-state.ts";
import { type PayloadUse, usesOf } from "../domain/stored-payload.ts";
import type { NewTask } from "../domain/task-plan.ts";
import type { GrantedLease } from "../store/claim-store.ts";
import { appendEvents } from "../store/event-store.ts";
import { insertJobs } from "../store/job-insert.ts";
import { usePayloads } from "../store/payload-store.ts";
import {
  type EarlierRequest,
  enterLeaves,
  recordNewRequests,
  requestKey,
} from "../store/request-store.ts";
import { insertLeasedTasks, insertTasks, type LeasedTask } from "../store/task-insert.ts";
import { type ClaimOrder, jobEventOf, movedByClaim } from "./lease-orders.ts";

/** A submission as it is to be stored. */
export interface Draft {
  readonly jobId: string;
  readonly submission: JobSubmission;
  readonly tasks: readonly NewTask[];
}

/** A job that was stored. */
export interface MadeJob {
  readonly kind: "made";
  readonly createdAt: Date;
  readonly progress: JobProgress;
  /** Its first ones, in order. */
  readonly events: readonly JobEvents[];
}

/** What became of one submission. */
export type Outcome =
  | MadeJob
  | { readonly kind: "repeat"; readonly earlier: EarlierRequest }
  | { readonly kind: "refused"; readonly error: unknown };

/** What a transaction wrote. */
export interface Written {
  readonly outcomes: readonly Outcome[];
  /** By task id. */
  readonly leases: ReadonlyMap<string, GrantedLease>;
}

/** Choices for tasks of the drafts, by task id. */
export type Placed = ReadonlyMap<string, ClaimOrder>;

const NO_ORDERS: readonly ClaimOrder[] = [];

/** A draft with what was chosen for its tasks. */
interface Birth {
  readonly draft: Draft;
  readonly orders: readonly ClaimOrder[];
  readonly progress: JobProgress;
}

/** Of drafts with one request id, the first: the others are repeats of it. */
export function firstOfEach(drafts: readonly Draft[]): Map<string, Draft> {
  const first = new Map<string, Draft>();
  for (const draft of drafts) {
    const key = requestKey(draft.submission);
    if (!first.has(key)) first.set(key, draft);
  }
  return first;
}

/** Inserts what is not known to be a repeat of an earlier request, and commits. When some are repeats all the same, the database
 * refuses to store anything (REFUSALS.repeated).
 *
 * Cost: 5 to 10 statements and the COMMIT in one round trip, whatever the number of submissions.
 * Errors: not_found/PAYLOAD_NOT_FOUND when an input refers to what is not stored. */
export async function writeSubmissions(
  client: Transaction,
  drafts: readonly Draft[],
  earlier: ReadonlyMap<string, EarlierRequest>,
  placed: Placed,
): Promise<Written> {
  const first = firstOfEach(drafts);
  const fresh = [...first].filter(([key]) => !earlier.has(key));
  // In one order everywhere, so that two replicas with the same requests cannot wait for each other.
  const inOrder = [...fresh].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, draft]) => draft);
  const births = fresh.map(([, draft]) => birthOf(draft, placed));
  const tasks = births.flatMap(({ draft }) => draft.tasks);
  const { waiting, leased } = partition(tasks, placed);
  const [, createdAt, , leases, events] = await client.commitWith(
    recordNewRequests(client, inOrder.map(toRecord)),
    insertJobs(
      client,
      births.map(({ draft, progress }) => ({ ...draft, progress })),
    ),
    insertTasks(client, waiting),
    insertLeasedTasks(client, leased),
    appendEvents(client, births.flatMap(changesOf)),
    enterLeaves(
      client,
      births.map(({ draft }) => draft.submission.leaf),
    ),
    usePayloads(
      client,
      births.flatMap(({ draft }) => usesOfDraft(draft)),
    ),
  );
  const made = new Map<Draft, MadeJob>();
  const told = byJob(events);
  for (const { draft, progress } of births) {
    const at = createdAt.get(draft.jobId);
    if (at === undefined) continue;
    made.set(draft, {
      kind: "made",
      createdAt: at,
      progress,
      events: told.get(draft.jobId) ?? [],
    });
  }
  const outcomes = drafts.map((draft): Outcome => {
    const key = requestKey(draft.submission);
    const same = toRecord(first.get(key) as Draft);
    return made.get(draft) ?? { kind: "repeat", earlier: earlier.get(key) ?? same };
  });
  return { outcomes, leases };
}

/** The stored bodies that a draft's tasks refer to. */
export function usesOfDraft({ jobId, submission, tasks }: Draft): readonly PayloadUse[] {
  return usesOf({ namespace: submission.namespace, jobId }, tasks.map(inputOf));
}

// What is made anew for each batch V8 forgets with the next collection of the whole heap, and compiles again.
const inputOf = ({ input }: NewTask) => input;
const isBlocked = ({ pending }: NewTask) => pending > 0;

/** Those that wait, and those that an agent gets at once. */
function partition(tasks: readonly NewTask[], placed: Placed) {
  const leased: LeasedTask[] = [];
  if (placed.size === 0) return { waiting: tasks, leased };
  const waiting: NewTask[] = [];
  for (const task of tasks) {
    const claim = placed.get(task.taskId)?.claim;
    if (claim === undefined) waiting.push(task);
    else leased.push({ task, claim });
  }
  return { waiting, leased };
}

function byJob(events: readonly JobEvents[]): Map<string, JobEvents[]> {
  const groups = new Map<string, JobEvents[]>();
  for (const event of events) {
    const group = groups.get(event.jobId);
    if (group === undefined) groups.set(event.jobId, [event]);
    else group.push(event);
  }
  return groups;
}

function birthOf(draft: Draft, placed: Placed): Birth {
  const { jobId, tasks } = draft;
  const orders = ordersOf(tasks, placed);
  const blocked = tasks.filter(isBlocked).length;
  const deltas = new JobDeltas();
  for (const { claim } of orders) {
    deltas.event(jobId, jobEventOf(claim));
    deltas.move(jobId, "READY", "LEASED");
  }
  const before = newJobProgress({ total: tasks.length, blocked });
  const delta = deltas.all.get(jobId);
  return { draft, orders, progress: delta === undefined ? before : applyJobDelta(before, delta) };
}

function ordersOf(tasks: readonly NewTask[], placed: Placed): readonly ClaimOrder[] {
  if (placed.size === 0) return NO_ORDERS;
  return tasks.flatMap((task) => placed.get(task.taskId) ?? []);
}

function changesOf({ draft, orders, progress }: Birth): (JobChange | TaskChange)[] {
  const { jobId } = draft;
  const job = { kind: "job", jobId, failure: undefined } as const;
  return [
    { ...job, state: "PENDING" },
    ...(progress.state === "PENDING" ? [] : [{ ...job, state: progress.state }]),
    ...orders.map(({ claim }) => movedByClaim(claim, { attempt: 1 }).change),
  ];
}

function toRecord({ submission, jobId }: Draft) {
  const { namespace, principalId, requestId, bodyHash, leaf } = submission;
  const method = "SubmitJob" as const;
  return { namespace, principalId, requestId, method, bodyHash, jobId, entryId: leaf?.entryId };
}
