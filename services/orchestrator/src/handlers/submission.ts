/** Reads and checks a SubmitJob request: everything that can be refused before the database is asked. */
import { type SubmitJobRequest, SubmitJobRequestSchema } from "@nexus/proto/orchestrator";
import { encodeMessage, type Principal } from "@nexus/rpc";
import { type FieldViolation, NexusError } from "@nexus/shared";
import { findGraphProblems } from "../domain/graph.ts";
import type { JobSubmission } from "../domain/job.ts";
import { PLAN_CAPABILITY, PLAN_REQUEST_MAX_BYTES, PLAN_TASK_KEY } from "../domain/limits.ts";
import { findNul } from "../domain/storable.ts";
import {
  DEFAULT_RETRY,
  DEFAULT_SCHEDULE_TO_START_MS,
  DEFAULT_START_TO_CLOSE_MS,
  type TaskSpec,
} from "../domain/task.ts";
import { hashBytes } from "./body-hash.ts";
import { toPayload, toTaskSpec } from "./convert.ts";
import { storePlanQuestion, writePlanRequest } from "./plan-codec.ts";

function invalid(reason: string, message: string, violations: readonly FieldViolation[]) {
  return new NexusError({
    kind: "invalid",
    reason,
    message,
    details: { fieldViolations: violations },
  });
}

/** Turns a request into a submission.
 *
 * Errors: invalid, with the fields concerned, for OBJECTIVE_MISSING, INPUT_NOT_ALLOWED, PLAN_INPUT_TOO_LARGE,
 * TEXT_NOT_STORABLE, and the reasons of findGraphProblems (the first one names the error, all are listed). */
export function toSubmission(
  request: SubmitJobRequest,
  principal: Principal,
  traceparent: string,
): JobSubmission {
  const planning = request.tasks.length === 0;
  const tasks = planning ? [toPlanningTask(request)] : toTasks(request);
  const { objective, priority } = request;
  const labels = { ...request.labels };
  // Equal requests have equal bytes, and these cost a fifth of what a walk through the tasks does.
  const bytes = encodeMessage(SubmitJobRequestSchema, { ...request, requestId: "" });
  // Most have no byte that is 0, and so no text with a NUL character: that is looked for where there is one, in sizes and bodies mostly.
  const nul = bytes.includes(0) ? findNul({ objective, labels, tasks }) : undefined;
  if (nul !== undefined || request.requestId.includes("\u0000")) {
    throw invalid("TEXT_NOT_STORABLE", "A text holds a NUL character.", [
      { field: nul ?? "request_id", description: "must not hold a NUL character" },
    ]);
  }
  return {
    namespace: principal.namespace,
    principalId: principal.principalId,
    requestId: request.requestId,
    bodyHash: hashBytes(bytes),
    objective,
    priority,
    labels,
    tasks,
    planning,
    traceparent,
  };
}

function toTasks(request: SubmitJobRequest): TaskSpec[] {
  if (request.input !== undefined) {
    throw invalid("INPUT_NOT_ALLOWED", "A job with tasks takes no input of its own.", [
      { field: "input", description: "must be empty when tasks are given: each task has its own" },
    ]);
  }
  const tasks = request.tasks.map(toTaskSpec);
  const problems = findGraphProblems(tasks);
  const first = problems[0];
  if (first !== undefined) {
    const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
    throw invalid(first.reason, `The tasks cannot run: ${first.description}${more}.`, problems);
  }
  return tasks;
}

function toPlanningTask(request: SubmitJobRequest): TaskSpec {
  if (request.objective === "") {
    throw invalid("OBJECTIVE_MISSING", "A job needs tasks, or an objective to plan them from.", [
      { field: "objective", description: "must not be empty when there are no tasks" },
    ]);
  }
  if (request.input?.reference !== undefined) {
    throw invalid("PLAN_INPUT_TOO_LARGE", "A planner's input travels with the question.", [
      { field: "input.reference", description: "must not be set: give the planner less, or tasks" },
    ]);
  }
  const question = storePlanQuestion(request.objective, toPayload(request.input));
  if (writePlanRequest(question, []).data.byteLength > PLAN_REQUEST_MAX_BYTES) {
    throw invalid(
      "PLAN_INPUT_TOO_LARGE",
      "Objective and input do not fit into a planner's input.",
      [
        {
          field: "input",
          description: `as JSON, objective and input may take ${PLAN_REQUEST_MAX_BYTES} bytes`,
        },
      ],
    );
  }
  return {
    key: PLAN_TASK_KEY,
    capability: PLAN_CAPABILITY,
    versionRange: "",
    input: question,
    dependencies: [],
    requiredLabels: {},
    preferredLabels: {},
    priority: 0,
    retry: DEFAULT_RETRY,
    startToCloseMs: DEFAULT_START_TO_CLOSE_MS,
    scheduleToStartMs: DEFAULT_SCHEDULE_TO_START_MS,
  };
}
