import { fromBinary } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { OutcomeGroupSchema } from "@nexus/proto/common";
import { RecordOutcomesRequestSchema } from "@nexus/proto/insight";
import { ReportOutcomesRequestSchema } from "@nexus/proto/registry";
import { describe, expect, it } from "vitest";
import { type AttemptOutcome, OUTCOMES_PER_GROUP_MAX } from "../domain/outcome.ts";
import { createOutcomeCodec } from "./outcome-codec.ts";

const outcome: AttemptOutcome = {
  namespace: "default",
  jobId: "job_1",
  taskId: "task_1",
  fence: 4_503_599_627_370_497n,
  agentId: "agent-ä",
  capability: "text.analyse",
  attempt: 3,
  success: false,
  reason: "AGENT_ERROR",
  queueMs: 0,
  runMs: 61_234.567,
  workMs: 0.001,
  endedAtMs: 1_800_000_000_123.456,
};

const codec = createOutcomeCodec();

function read(position: number, outcomes: readonly AttemptOutcome[]) {
  return fromBinary(OutcomeGroupSchema, codec.writeGroup(position, outcomes));
}

describe("createOutcomeCodec", () => {
  it("writes what the generated code reads", () => {
    const group = read(7, [outcome]);
    expect(group.position).toBe(7n);
    expect(group.outcomes).toMatchObject([
      {
        namespace: "default",
        jobId: "job_1",
        taskId: "task_1",
        fence: 4_503_599_627_370_497n,
        agentId: "agent-ä",
        capability: "text.analyse",
        attempt: 3,
        success: false,
        reason: "AGENT_ERROR",
        queueTime: { seconds: 0n, nanos: 0 },
        runTime: { seconds: 61n, nanos: 234_567_000 },
        workTime: { seconds: 0n, nanos: 1_000 },
        endTime: { seconds: 1_800_000_000n, nanos: 123_456_000 },
      },
    ]);
  });

  it("writes what the contract's rules let through", () => {
    const group = read(2 ** 52, [outcome, { ...outcome, success: true, reason: "" }]);
    expect(createValidator().validate(OutcomeGroupSchema, group).kind).toBe("valid");
  });

  it("may write as many as the contract lets through, and no more", () => {
    const verdictOn = (count: number) => {
      const group = read(
        count,
        Array.from({ length: count }, () => outcome),
      );
      return createValidator().validate(OutcomeGroupSchema, group).kind;
    };
    expect(verdictOn(OUTCOMES_PER_GROUP_MAX)).toBe("valid");
    expect(verdictOn(OUTCOMES_PER_GROUP_MAX + 1)).toBe("invalid");
  });

  it("leaves out the work of an agent that never began", () => {
    const [unbegun] = read(1, [{ ...outcome, workMs: undefined }]).outcomes;
    expect(unbegun?.workTime).toBeUndefined();
    expect(unbegun?.runTime).toBeDefined();
  });

  it.each([
    [1_999.999_9, { seconds: 2n, nanos: 0 }],
    [999.999_4, { seconds: 0n, nanos: 999_999_000 }],
  ])("rounds %d ms to the microsecond", (runMs, expected) => {
    expect(read(1, [{ ...outcome, runMs }]).outcomes[0]?.runTime).toMatchObject(expected);
  });

  it("keeps each group apart from the one before it", () => {
    expect(read(1, [outcome, outcome]).outcomes).toHaveLength(2);
    expect(read(2, [outcome]).outcomes).toHaveLength(1);
  });
});

describe("the requests of both receivers", () => {
  it("have the same fields, so that one writing serves both", () => {
    const fieldsOf = (
      schema: typeof ReportOutcomesRequestSchema | typeof RecordOutcomesRequestSchema,
    ) => schema.fields.map(({ number, name, message }) => [number, name, message?.typeName]);
    const expected = [
      [1, "stream", undefined],
      [2, "groups", "nexus.common.v1.OutcomeGroup"],
    ];
    expect(fieldsOf(ReportOutcomesRequestSchema)).toEqual(expected);
    expect(fieldsOf(RecordOutcomesRequestSchema)).toEqual(expected);
  });
});
