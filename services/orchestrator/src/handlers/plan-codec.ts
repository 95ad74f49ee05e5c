/** Reads what planners answer and writes what they are asked. */
import { create, fromBinary, fromJsonString, toBinary, toJsonString } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { type Plan, PlanRequestSchema, PlanSchema } from "@nexus/proto/orchestrator";
import { NexusError } from "@nexus/shared";
import { PLAN_CAPABILITIES_MAX_BYTES } from "../domain/limits.ts";
import type { PlanCodec, PlanReading } from "../domain/ports.ts";
import { findNul } from "../domain/storable.ts";
import type { Payload } from "../domain/task.ts";
import { fromPayload, toTaskSpec } from "./convert.ts";

/** How the question is kept: binary, without the capabilities, which are those of the moment it is asked. */
const STORED_TYPE = "application/protobuf";
const ASKED_TYPE = "application/json";
/** Most violations named in one rejection. */
const VIOLATIONS_MAX = 16;

/** Creates the codec. */
export function createPlanCodec(): PlanCodec {
  const validator = createValidator();
  return {
    readPlan(output) {
      const plan = tryParse(output);
      if (typeof plan === "string") return { ok: false, problems: [plan] };
      const result = validator.validate(PlanSchema, plan);
      if (result.kind !== "valid") return { ok: false, problems: problemsOf(result) };
      return toReading(plan);
    },
    writeRequest: writePlanRequest,
  };
}

function toReading(plan: Plan): PlanReading {
  try {
    return toStorableReading(plan);
  } catch (error) {
    if (!NexusError.is(error, "invalid")) throw error;
    return { ok: false, problems: [error.message] };
  }
}

function toStorableReading(plan: Plan): PlanReading {
  const specs = plan.tasks.map(toTaskSpec);
  const nul = findNul({ tasks: specs, summary: plan.summary });
  if (nul !== undefined) return { ok: false, problems: [`${nul}: holds a NUL character`] };
  return { ok: true, specs, summary: plan.summary };
}

function tryParse({ contentType, data, storedBytes }: Payload): Plan | string {
  if (storedBytes !== undefined) return "A plan is sent in the output itself, not by reference.";
  const mediaType = contentType.split(";")[0]?.trim().toLowerCase();
  try {
    if (mediaType === "application/protobuf") return fromBinary(PlanSchema, data);
    if (mediaType === "application/json") {
      return fromJsonString(PlanSchema, Buffer.from(data).toString("utf8"));
    }
  } catch (error) {
    const why = error instanceof Error ? error.message : "unreadable";
    return `The output is no Plan: ${why}`;
  }
  return `The output's content type is "${contentType}"; a plan is application/protobuf or application/json.`;
}

function problemsOf(
  result: Exclude<ReturnType<ReturnType<typeof createValidator>["validate"]>, { kind: "valid" }>,
): string[] {
  if (result.kind === "error") return [result.error.message];
  return result.violations.slice(0, VIOLATIONS_MAX).map((violation) => violation.toString());
}

/** Keeps an objective as the planning task's input. */
export function storePlanQuestion(objective: string, input: Payload | undefined): Payload {
  const question = create(PlanRequestSchema, {
    objective,
    ...(input === undefined ? {} : { input: fromPayload(input) }),
  });
  return { contentType: STORED_TYPE, data: toBinary(PlanRequestSchema, question) };
}

/** Writes the question with the capabilities that are live now, as many as fit. */
export function writePlanRequest(
  stored: Payload | undefined,
  liveCapabilities: readonly string[],
): Payload {
  const question = fromBinary(PlanRequestSchema, stored?.data ?? new Uint8Array());
  question.capabilities = fitting(liveCapabilities);
  return { contentType: ASKED_TYPE, data: Buffer.from(toJsonString(PlanRequestSchema, question)) };
}

function fitting(capabilities: readonly string[]): string[] {
  let bytes = 0;
  return capabilities.filter((capability) => {
    bytes += capability.length + 3;
    return bytes <= PLAN_CAPABILITIES_MAX_BYTES;
  });
}
