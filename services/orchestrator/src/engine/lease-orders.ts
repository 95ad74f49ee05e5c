/** What the settler is asked to do, and how orders are told apart, bounded and answered. */
import { MiB, NexusError } from "@nexus/shared";
import type { JobEvent } from "../domain/job-state.ts";
import type { Claim, LiveTask } from "../domain/live-task.ts";
import { feedsMap } from "../domain/map.ts";
import type { SessionRef, UpdateOutcome } from "../domain/ports.ts";
import type { Ending, Settlement } from "../domain/settlement.ts";
import type { Failure } from "../domain/task.ts";
import type { NewTask } from "../domain/task-plan.ts";
import type { WaitClock } from "../domain/waiting-task.ts";
import type { GrantedLease } from "../store/claim-store.ts";
import type { MovedTask } from "../store/effects-store.ts";
import { type LeaseEnd, stateAfter } from "../store/settle-store.ts";
import type { AgentEntry, LiveLease } from "./agent-entry.ts";

/** Most bytes of outputs in one transaction. */
const FLUSH_BYTES_MAX = 8 * MiB;

/** What the writer notes on an order: there are a thousand in a transaction. Of a claim it only says whether it was written; whether it was
 * granted, the claimer hears before. An error is why nothing was. */
interface Written {
  outcome: WordOutcome | "WRITTEN" | Error | undefined;
}

/** The tasks of an admitted plan, inserted when its planning task succeeds. */
export interface AdmittedPlan {
  readonly tasks: readonly NewTask[];
  readonly summary: string;
}

/** Hears once what became of a word, or why it is not known. Must not throw. */
export type HearOutcome = (outcome: WordOutcome | Error) => void;

/** Ends one lease. */
export interface EndOrder extends Written {
  readonly kind: "end";
  readonly taskId: string;
  readonly fence: bigint;
  /** Who says so: a session can end only its own leases. Undefined for the orchestrator itself. */
  readonly by: SessionRef | undefined;
  readonly ending: Ending;
  readonly plan?: AdmittedPlan;
  readonly hear: HearOutcome;
}

/** Notes that an agent began. */
export interface AcceptOrder extends Written {
  readonly kind: "accept";
  readonly taskId: string;
  readonly fence: bigint;
  readonly hear: HearOutcome;
}

/** Begins a lease: a choice on its way to being one. */
export interface ClaimOrder extends Written {
  readonly kind: "claim";
  readonly claim: Claim;
  readonly agent: AgentEntry;
  /** The load of memory in which the choice was made. */
  readonly generation: number;
  readonly wait: WaitClock;
}

/** What is said about a lease that there is. */
export type LeaseWord = EndOrder | AcceptOrder;

/** Anything that changes a lease. */
export type LeaseOrder = ClaimOrder | LeaseWord;

/** What became of a word. `ELSEWHERE`: another replica owns the task now, and will answer when the agent says it again. */
export type WordOutcome = UpdateOutcome | "ELSEWHERE";

/** A lease with what ends it. */
export interface EndedLease {
  readonly live: LiveLease;
  readonly order: EndOrder;
  readonly settlement: Settlement;
}

/** What a transaction is to write. */
export interface LeaseBatch {
  readonly claims: readonly ClaimOrder[];
  readonly ended: readonly EndedLease[];
  readonly accepts: readonly LiveLease[];
}

/** The jobs that a batch is about. */
export function jobsOf({ claims, ended }: LeaseBatch): Set<string> {
  const jobs = new Set<string>();
  for (const { claim } of claims) jobs.add(claim.task.jobId);
  for (const { live } of ended) jobs.add(live.lease.task.jobId);
  return jobs;
}

/** Says whether a session may end a lease: it belongs to one epoch of one agent. */
export function mayEnd(by: SessionRef | undefined, { lease, agent }: LiveLease): boolean {
  if (by === undefined) return true;
  return (
    by.agentId === lease.agentId &&
    by.namespace === agent.namespace &&
    by.epoch === lease.agentEpoch
  );
}

/** The agent's word in an ending; empty when it is the orchestrator's own. */
export function wordOf(ending: Ending): string {
  if (ending.kind === "REJECTED") return ending.word;
  const spoken =
    ending.kind === "COMPLETED" || ending.kind === "FAILED" || ending.kind === "RELEASED";
  return spoken ? ending.kind : "";
}

/** Says whether an order is a claim. Like the three below it is made once: what is made anew for each batch V8 forgets with the next
 * collection of the whole heap, and compiles again. */
export function isClaim(order: LeaseOrder): order is ClaimOrder {
  return order.kind === "claim";
}

/** Says whether it is not. */
export function isWord(order: LeaseOrder): order is LeaseWord {
  return order.kind !== "claim";
}

/** Says whether nothing of a claim was written. */
export function isUnwritten({ outcome }: ClaimOrder): boolean {
  return outcome !== "WRITTEN";
}

/** The choice that an order is about. */
export function claimOf({ claim }: ClaimOrder): Claim {
  return claim;
}

/** Writes ended leases as the store takes them. */
export function toLeaseEnds(ended: readonly EndedLease[], nowMs: number): LeaseEnd[] {
  const ends: LeaseEnd[] = [];
  for (const { live, order, settlement } of ended) {
    ends.push({
      taskId: order.taskId,
      fence: order.fence,
      settlement,
      startedAgoMs: live.acceptedAtMs === undefined ? undefined : nowMs - live.acceptedAtMs,
    });
  }
  return ends;
}

/** The move of a task whose lease ended. LEASED and RUNNING count alike, so which it was makes no difference. */
export function movedByEnd({ live, settlement }: EndedLease): MovedTask {
  return {
    from: "RUNNING",
    sink: live.lease.task.sink,
    cancelsSiblings: live.lease.task.spec.cancelSiblingsOnFailure ?? false,
    feedsMap: feedsMap(live.lease.task.spec),
    change: changeOf(live, stateAfter(settlement), settlement.failure),
  };
}

/** The move of a task whose agent began. */
export function movedByAccept(live: LiveLease): MovedTask {
  return { from: "LEASED", sink: true, change: changeOf(live, "RUNNING", undefined) };
}

/** What a claim means to its job. */
export function jobEventOf({ task }: Claim): JobEvent {
  return task.planning ? "PLANNER_LEASED" : "TASK_LEASED";
}

/** The move of a task that was leased. */
export function movedByClaim(
  { task, agentId }: Claim,
  { attempt }: Pick<GrantedLease, "attempt">,
): MovedTask {
  return {
    from: "READY",
    sink: task.sink,
    change: {
      kind: "task",
      jobId: task.jobId,
      taskId: task.taskId,
      taskKey: task.key,
      state: "LEASED",
      attempt,
      agentId,
      failure: undefined,
    },
  };
}

/** The move of a task that waited for an agent and is given up. */
export function movedByExpiry(task: LiveTask, failure: Failure): MovedTask {
  return {
    from: "READY",
    sink: task.sink,
    feedsMap: feedsMap(task.spec),
    cancelsSiblings: task.spec.cancelSiblingsOnFailure ?? false,
    change: {
      kind: "task",
      jobId: task.jobId,
      taskId: task.taskId,
      taskKey: task.key,
      state: "FAILED",
      attempt: 0,
      agentId: "",
      failure,
    },
  };
}

function changeOf(
  { lease }: LiveLease,
  state: MovedTask["change"]["state"],
  failure: MovedTask["change"]["failure"],
): MovedTask["change"] {
  return {
    kind: "task",
    jobId: lease.task.jobId,
    taskId: lease.task.taskId,
    taskKey: lease.task.key,
    state,
    attempt: lease.attempt,
    agentId: lease.agentId,
    failure,
  };
}

/** Cuts words into runs whose outputs fit into one transaction. */
export function* chunksByBytes(words: readonly LeaseWord[]): Generator<readonly LeaseWord[]> {
  let chunk: LeaseWord[] = [];
  let bytes = 0;
  for (const word of words) {
    const size = sizeOf(word);
    if (chunk.length > 0 && bytes + size > FLUSH_BYTES_MAX) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(word);
    bytes += size;
  }
  if (chunk.length > 0) yield chunk;
}

function sizeOf(word: LeaseWord): number {
  if (word.kind === "accept" || word.ending.kind !== "COMPLETED") return 0;
  return word.ending.output.data.byteLength;
}

/** How many tasks of a plan wait for others. */
export function blockedOf(plan: AdmittedPlan): number {
  return plan.tasks.filter((task) => task.pending > 0).length;
}

/** Notes on orders why nothing of them was written. */
export function fail(orders: readonly LeaseOrder[], cause: unknown): void {
  const error = NexusError.from(cause);
  for (const order of orders) order.outcome = error;
}
