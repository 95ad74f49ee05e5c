import { create, fromJsonString, toBinary } from "@bufbuild/protobuf";
import {
  type PlanRequest,
  PlanRequestSchema,
  PlanSchema,
  type TaskSpecSchema,
} from "@nexus/proto/orchestrator";
import type { MessageInit } from "./message-init.ts";
import { RawPayload, StoredPayload, toPayload } from "./payload.ts";

/** The capability that makes an agent a planner. */
export const PLAN_CAPABILITY = "nexus.plan";

/** One task of a plan, its input as a plain value, or as toStoredPayload() made it. */
export interface PlannedTask extends Omit<MessageInit<typeof TaskSpecSchema>, "input"> {
  readonly key: string;
  readonly capability: string;
  readonly input?: unknown;
}

/** Builds what a planner's handler returns: typed tasks that the orchestrator admits or refuses as a whole. */
export function createPlan(tasks: readonly PlannedTask[], summary = ""): RawPayload {
  const specs = tasks.map(toTaskSpec);
  const plan = create(PlanSchema, { tasks: specs, summary });
  return new RawPayload("application/protobuf", toBinary(PlanSchema, plan));
}

/** Turns a task with a plain input into the contract's form, for createPlan and for SubmitJob. */
export function toTaskSpec(task: PlannedTask): MessageInit<typeof TaskSpecSchema> {
  const { input, ...spec } = task;
  if (input === undefined) return spec;
  return { ...spec, input: input instanceof StoredPayload ? input : toPayload(input) };
}

/** Reads the input of a planner's handler. */
export function readPlanRequest(input: unknown): PlanRequest {
  return fromJsonString(PlanRequestSchema, JSON.stringify(input), { ignoreUnknownFields: true });
}
