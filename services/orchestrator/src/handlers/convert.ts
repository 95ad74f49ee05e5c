/** Orchestrator contracts to and from domain types. Total both ways; defaults are filled in here. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Payload as WirePayload } from "@nexus/proto/common";
import {
  type AttemptSchema,
  type DependencySchema,
  type FailureSchema,
  type JobSchema,
  type RoutingDecisionSchema,
  type TaskSchema,
  type TaskSpecSchema,
  type Dependency as WireDependency,
  EdgePolicy as WireEdgePolicy,
  JobState as WireJobState,
  type MapSpec as WireMapSpec,
  type RetryPolicy as WireRetryPolicy,
  type TaskSpec as WireTaskSpec,
  TaskState as WireTaskState,
} from "@nexus/proto/orchestrator";
import { NexusError } from "@nexus/shared";
import { DEFAULT_EDGE_POLICY, type EdgePolicy } from "../domain/edge-policy.ts";
import type { JobView } from "../domain/job.ts";
import type { JobState } from "../domain/job-state.ts";
import { MAP_ITEMS_MAX } from "../domain/limits.ts";
import type { MapSpec } from "../domain/map-spec.ts";
import type { RoutingDecision } from "../domain/routing-decision.ts";
import type { PayloadReference } from "../domain/stored-payload.ts";
import {
  type AttemptView,
  DEFAULT_RETRY,
  DEFAULT_SCHEDULE_TO_START_MS,
  DEFAULT_START_TO_CLOSE_MS,
  type Dependency,
  type Failure,
  type Payload,
  type RetryPolicy,
  type StoredTaskSpec,
  type TaskSpec,
  type TaskView,
} from "../domain/task.ts";
import type { TaskState } from "../domain/task-state.ts";
import { fromPlacement, readPlacement } from "./convert-placement.ts";

const DEFAULT_CONTENT_TYPE = "application/octet-stream";

const JOB_STATES: Readonly<Record<JobState, WireJobState>> = {
  PENDING: WireJobState.PENDING,
  PLANNING: WireJobState.PLANNING,
  RUNNING: WireJobState.RUNNING,
  PAUSED: WireJobState.PAUSED,
  COMPLETED: WireJobState.COMPLETED,
  PARTIAL: WireJobState.PARTIAL,
  FAILED: WireJobState.FAILED,
  CANCELLED: WireJobState.CANCELLED,
};

const TASK_STATES: Readonly<Record<TaskState, WireTaskState>> = {
  BLOCKED: WireTaskState.BLOCKED,
  READY: WireTaskState.READY,
  LEASED: WireTaskState.LEASED,
  RUNNING: WireTaskState.RUNNING,
  SUCCEEDED: WireTaskState.SUCCEEDED,
  FAILED: WireTaskState.FAILED,
  CANCELLED: WireTaskState.CANCELLED,
  SKIPPED: WireTaskState.SKIPPED,
};

const POLICIES: Readonly<Record<EdgePolicy, WireEdgePolicy>> = {
  FAIL: WireEdgePolicy.FAIL,
  SKIP: WireEdgePolicy.SKIP,
  CONTINUE: WireEdgePolicy.CONTINUE,
};

const POLICY_OF = new Map(
  Object.entries(POLICIES).map(([name, wire]) => [wire, name as EdgePolicy]),
);
const JOB_STATE_OF = new Map(Object.entries(JOB_STATES).map(([name, wire]) => [wire, name]));
const TASK_STATE_OF = new Map(Object.entries(TASK_STATES).map(([name, wire]) => [wire, name]));

/** Writes a job's state. */
export function fromJobState(state: JobState): WireJobState {
  return JOB_STATES[state];
}

/** Writes a task's state. */
export function fromTaskState(state: TaskState): WireTaskState {
  return TASK_STATES[state];
}

/** Reads the states of a filter; UNSPECIFIED and unknown ones match nothing and are left out. */
export function toJobStates(states: readonly WireJobState[]): JobState[] {
  return states.flatMap((state) => (JOB_STATE_OF.get(state) as JobState | undefined) ?? []);
}

/** Reads the states of a filter; UNSPECIFIED and unknown ones match nothing and are left out. */
export function toTaskStates(states: readonly WireTaskState[]): TaskState[] {
  return states.flatMap((state) => (TASK_STATE_OF.get(state) as TaskState | undefined) ?? []);
}

/** Reads a payload; an empty media type means bytes. Errors: invalid/PAYLOAD_AMBIGUOUS. */
export function toPayload(payload: WirePayload | undefined): Payload | undefined {
  if (payload === undefined) return undefined;
  const { data, reference } = payload;
  const contentType = payload.contentType === "" ? DEFAULT_CONTENT_TYPE : payload.contentType;
  if (reference === undefined) return { contentType, data };
  if (data.byteLength > 0) throw payloadAmbiguous();
  return { contentType, data: reference.sha256, storedBytes: Number(reference.sizeBytes) };
}

function payloadAmbiguous(): NexusError {
  return new NexusError({
    kind: "invalid",
    reason: "PAYLOAD_AMBIGUOUS",
    message: "A payload has its body or a reference to it, not both.",
  });
}

/** Writes a reference to a body that is stored apart. */
export function fromReference({ sha256, sizeBytes }: PayloadReference) {
  return { sha256: sha256 as Uint8Array<ArrayBuffer>, sizeBytes: BigInt(sizeBytes) };
}

/** Writes a payload. */
export function fromPayload({ contentType, data, storedBytes }: Payload) {
  if (storedBytes === undefined) return { contentType, data: data as Uint8Array<ArrayBuffer> };
  return { contentType, reference: fromReference({ sha256: data, sizeBytes: storedBytes }) };
}

const NO_DEPENDENCIES: readonly Dependency[] = [];

/** Reads a task's spec and fills in defaults; its labels are the message's own. What is left out is not set: a spread for each takes as
 * long as all the rest. */
export function toTaskSpec(spec: WireTaskSpec): TaskSpec {
  const { startToCloseTimeout, scheduleToStartTimeout, heartbeatTimeout, scheduleToCloseTimeout } =
    spec;
  const read: { -readonly [K in keyof TaskSpec]: TaskSpec[K] } = {
    key: spec.key,
    capability: spec.capability,
    versionRange: spec.versionRange,
    input: toPayload(spec.input),
    dependencies:
      spec.dependencies.length === 0 ? NO_DEPENDENCIES : spec.dependencies.map(toDependency),
    requiredLabels: spec.requiredLabels,
    preferredLabels: spec.preferredLabels,
    priority: spec.priority,
    retry: toRetryPolicy(spec.retry),
    startToCloseMs:
      startToCloseTimeout === undefined
        ? DEFAULT_START_TO_CLOSE_MS
        : durationMs(startToCloseTimeout),
    scheduleToStartMs:
      scheduleToStartTimeout === undefined
        ? DEFAULT_SCHEDULE_TO_START_MS
        : durationMs(scheduleToStartTimeout),
  };
  readPlacement(spec, read);
  if (spec.cancelSiblingsOnFailure) read.cancelSiblingsOnFailure = true;
  if (spec.map !== undefined) read.map = toMapSpec(spec.map);
  if (heartbeatTimeout !== undefined) read.heartbeatMs = durationMs(heartbeatTimeout);
  if (scheduleToCloseTimeout !== undefined) {
    read.scheduleToCloseMs = durationMs(scheduleToCloseTimeout);
  }
  return read;
}

/** The default policy is left out, so that what is stored of most edges is small. */
function toDependency({ taskKey, inputName, onFailure }: WireDependency): Dependency {
  const policy = POLICY_OF.get(onFailure) ?? DEFAULT_EDGE_POLICY;
  return { taskKey, inputName, ...(policy === DEFAULT_EDGE_POLICY ? {} : { onFailure: policy }) };
}

function fromDependency({
  onFailure,
  ...edge
}: Dependency): MessageInitShape<typeof DependencySchema> {
  return onFailure === undefined ? edge : { ...edge, onFailure: POLICIES[onFailure] };
}

function toMapSpec({ source, itemName, maxItems }: WireMapSpec): MapSpec {
  return { source, itemName, maxItems: maxItems === 0 ? MAP_ITEMS_MAX : maxItems };
}

function toRetryPolicy(retry: WireRetryPolicy | undefined): RetryPolicy {
  if (retry === undefined) return DEFAULT_RETRY;
  const { maxAttempts, initialDelay, multiplier, maxDelay, nonRetryableReasons, jitter } = retry;
  const { maxLosses } = retry;
  return {
    maxAttempts: maxAttempts === 0 ? DEFAULT_RETRY.maxAttempts : maxAttempts,
    initialDelayMs:
      initialDelay === undefined ? DEFAULT_RETRY.initialDelayMs : durationMs(initialDelay),
    // 1 is the smallest that the contract names; a fraction would make each wait shorter.
    multiplier: multiplier === 0 ? DEFAULT_RETRY.multiplier : Math.max(1, multiplier),
    maxDelayMs: maxDelay === undefined ? DEFAULT_RETRY.maxDelayMs : durationMs(maxDelay),
    nonRetryableReasons: [...nonRetryableReasons],
    ...(jitter === undefined ? {} : { jitter }),
    ...(maxLosses === 0 ? {} : { maxLosses }),
  };
}

/** Writes a spec as submitted: what is at its default is left out. */
export function fromTaskSpec(
  spec: StoredTaskSpec,
  input: Payload | undefined,
): MessageInitShape<typeof TaskSpecSchema> {
  const { startToCloseMs, scheduleToStartMs, heartbeatMs, scheduleToCloseMs, retry, ...more } =
    spec;
  const { feedsMap: _, mapItem: _item, labelConstraints: _labels, ...rest } = more;
  const standardRetry = JSON.stringify(retry) === JSON.stringify(DEFAULT_RETRY);
  return {
    ...rest,
    ...fromPlacement(spec),
    dependencies: spec.dependencies.map(fromDependency),
    ...(input === undefined ? {} : { input: fromPayload(input) }),
    ...(standardRetry ? {} : { retry: fromRetryPolicy(retry) }),
    ...(startToCloseMs === DEFAULT_START_TO_CLOSE_MS
      ? {}
      : { startToCloseTimeout: durationFromMs(startToCloseMs) }),
    ...(scheduleToStartMs === DEFAULT_SCHEDULE_TO_START_MS
      ? {}
      : { scheduleToStartTimeout: durationFromMs(scheduleToStartMs) }),
    ...(heartbeatMs === undefined ? {} : { heartbeatTimeout: durationFromMs(heartbeatMs) }),
    ...(scheduleToCloseMs === undefined
      ? {}
      : { scheduleToCloseTimeout: durationFromMs(scheduleToCloseMs) }),
  };
}

function fromRetryPolicy(retry: RetryPolicy) {
  return {
    maxAttempts: retry.maxAttempts,
    initialDelay: durationFromMs(retry.initialDelayMs),
    multiplier: retry.multiplier,
    maxDelay: durationFromMs(retry.maxDelayMs),
    nonRetryableReasons: [...retry.nonRetryableReasons],
    ...(retry.jitter === undefined ? {} : { jitter: retry.jitter }),
    ...(retry.maxLosses === undefined ? {} : { maxLosses: retry.maxLosses }),
  };
}

/** Writes a failure. */
export function fromFailure(failure: Failure): MessageInitShape<typeof FailureSchema> {
  return { ...failure };
}

/** Writes a job; results only when given. */
export function fromJob(
  job: JobView,
  results: ReadonlyMap<string, Payload> = new Map(),
): MessageInitShape<typeof JobSchema> {
  return {
    jobId: job.jobId,
    namespace: job.namespace,
    objective: job.objective,
    state: fromJobState(job.state),
    principalId: job.principalId,
    priority: job.priority,
    labels: { ...job.labels },
    tasks: { ...job.counts },
    ...(job.failure === undefined ? {} : { failure: fromFailure(job.failure) }),
    planSummary: job.planSummary,
    ...job.lineage,
    results: Object.fromEntries([...results].map(([key, p]) => [key, fromPayload(p)])),
    createTime: timestampFromDate(job.createdAt),
    ...(job.startedAt === undefined ? {} : { startTime: timestampFromDate(job.startedAt) }),
    ...(job.endedAt === undefined ? {} : { endTime: timestampFromDate(job.endedAt) }),
  };
}

/** Writes a task; `progress` is what its agent last said, if it runs now. */
export function fromTask(
  task: TaskView,
  progress: number | undefined,
): MessageInitShape<typeof TaskSchema> {
  return {
    taskId: task.taskId,
    jobId: task.jobId,
    spec: fromTaskSpec(task.spec, task.input),
    state: fromTaskState(task.state),
    attempts: task.attempts,
    chargedAttempts: task.charged,
    agentId: task.agentId,
    fence: task.fence,
    progress: task.state === "SUCCEEDED" ? 1 : (progress ?? 0),
    ...(task.output === undefined ? {} : { output: fromPayload(task.output) }),
    ...(task.failure === undefined ? {} : { failure: fromFailure(task.failure) }),
    createTime: timestampFromDate(task.createdAt),
    ...(task.readyAt === undefined ? {} : { readyTime: timestampFromDate(task.readyAt) }),
    ...(task.leasedAt === undefined ? {} : { leaseTime: timestampFromDate(task.leasedAt) }),
    ...(task.endedAt === undefined ? {} : { endTime: timestampFromDate(task.endedAt) }),
    planning: task.planning,
    reusedFromTaskId: task.reusedFrom,
    ...(task.spec.mapItem === undefined
      ? {}
      : { mappedTaskKey: task.spec.mapItem.of, mapIndex: task.spec.mapItem.index }),
  };
}

/** Writes an attempt. */
export function fromAttempt(attempt: AttemptView): MessageInitShape<typeof AttemptSchema> {
  const { decision, failure, startedAt, endedAt } = attempt;
  return {
    attempt: attempt.attempt,
    fence: attempt.fence,
    agentId: attempt.agentId,
    agentEpoch: attempt.agentEpoch,
    leaseTime: timestampFromDate(attempt.leasedAt),
    ...(startedAt === undefined ? {} : { startTime: timestampFromDate(startedAt) }),
    ...(endedAt === undefined ? {} : { endTime: timestampFromDate(endedAt) }),
    outcome: attempt.outcome ?? "",
    ...(failure === undefined ? {} : { failure: fromFailure(failure) }),
    charged: attempt.charged,
    ...(decision === undefined ? {} : { decision: fromDecision(decision) }),
  };
}

/** Writes a routing decision. */
export function fromDecision(
  decision: RoutingDecision,
): MessageInitShape<typeof RoutingDecisionSchema> {
  const { factors, rejections, ...rest } = decision;
  return { ...rest, factors: { ...factors }, rejections: [...rejections] };
}
