import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { createValidator } from "@bufbuild/protovalidate";
import { OutcomeGroupSchema } from "@nexus/proto/common";
import { RecordOutcomesRequestSchema } from "@nexus/proto/insight";
import { ReportOutcomesRequestSchema } from "@nexus/proto/registry";
import { readVarints } from "@nexus/rpc";
import { describe, expect, it } from "vitest";
import { type AttemptOutcome, OUTCOMES_PER_GROUP_MAX } from "../domain/outcome.ts";
import { createOutcomeCodec } from "./outcome-codec.ts";
import { outcomesOf, tryExpandGroup } from "./outcome-expander.ts";

const ENDED_AT_MS = 1_800_000_000_123.456;

const outcome: AttemptOutcome = {
  namespace: "default",
  jobId: "job_1",
  taskId: "task_1",
  agentId: "agent-ä",
  capability: "text.analyse",
  success: false,
  reason: "AGENT_ERROR",
  queueMs: 0,
  runMs: 61_234.567,
  workMs: 0.001,
};

const codec = createOutcomeCodec();

function read(position: number, outcomes: readonly AttemptOutcome[]) {
  return fromBinary(OutcomeGroupSchema, codec.writeGroup(position, ENDED_AT_MS, outcomes));
}

/** As many that have nothing in common, each with names as long as they may be. */
function strangers(count: number): AttemptOutcome[] {
  return Array.from({ length: count }, (_, n) => {
    const name = (length: number) => String(n).padStart(length, "x");
    return {
      ...outcome,
      namespace: name(64),
      jobId: name(64),
      taskId: name(64),
      agentId: name(128),
      capability: name(128),
      reason: name(128),
      queueMs: 2 ** 49 / 1_000 - 1,
    };
  });
}

describe("createOutcomeCodec", () => {
  it("writes what the generated code reads", () => {
    const { position, outcomes, table } = read(7, [outcome]);
    expect([position, outcomes]).toEqual([7n, []]);
    expect(table).toMatchObject({
      endTime: { seconds: 1_800_000_000n, nanos: 123_456_000 },
      kinds: [
        {
          namespace: "default",
          agentId: "agent-ä",
          capability: "text.analyse",
          success: false,
          reason: "AGENT_ERROR",
          lastTaskId: "task_1",
        },
      ],
      jobIds: ["job_1"],
    });
    expect(readVarints(table!.attempts)).toEqual([0, 0, 1, 61_234_568, 2]);
  });

  it("names a kind and a job once, and of each kind the last task", () => {
    const lost = { ...outcome, reason: "AGENT_LOST", jobId: "job_2" };
    const all = [
      { ...outcome, taskId: "task_1" },
      { ...lost, taskId: "task_2" },
      { ...outcome, taskId: "task_3", jobId: "job_2" },
      { ...outcome, taskId: "task_4", agentId: "b" },
      { ...lost, taskId: "task_5", namespace: "other" },
      { ...outcome, taskId: "task_6", capability: "map.draw" },
      { ...outcome, taskId: "task_7", success: true, reason: "" },
    ];
    const { table } = read(1, all);
    expect(table?.kinds.map(({ lastTaskId }) => lastTaskId)).toEqual(
      [3, 2, 4, 5, 6, 7].map((n) => `task_${n}`),
    );
    expect(table?.jobIds).toEqual(["job_1", "job_2"]);
    const numbers = readVarints(table!.attempts);
    const places = all.map((_, n) => numbers.slice(n * 5, n * 5 + 2));
    expect(places).toEqual([
      [0, 0],
      [1, 1],
      [0, 1],
      [2, 0],
      [3, 1],
      [4, 0],
      [5, 0],
    ]);
  });

  it("writes what the contract's rules let through, and no more of it than they do", () => {
    const verdictOn = (outcomes: readonly AttemptOutcome[]) =>
      createValidator().validate(OutcomeGroupSchema, read(2 ** 52, outcomes)).kind;
    expect(verdictOn([outcome, { ...outcome, success: true, reason: "" }])).toBe("valid");
    expect(verdictOn(strangers(OUTCOMES_PER_GROUP_MAX))).toBe("valid");
    expect(verdictOn(strangers(OUTCOMES_PER_GROUP_MAX + 1))).toBe("invalid");
  });

  it("takes a dozen bytes for an outcome like others, however long its names are", () => {
    const long = strangers(1)[0]!;
    const alike = Array.from({ length: 500 }, () => ({ ...long, queueMs: 800, runMs: 20 }));
    expect(codec.writeGroup(1, ENDED_AT_MS, alike).length).toBeLessThan(500 * 12 + 800);
  });

  it("leaves out the work of an agent that never began", () => {
    const { table } = read(1, [{ ...outcome, workMs: undefined }]);
    expect(readVarints(table!.attempts).at(-1)).toBe(0);
  });

  it("rounds to the microsecond, also a time of day to the next second", () => {
    const { table } = read(1, [{ ...outcome, runMs: 1_999.999_9 }]);
    expect(readVarints(table!.attempts)[3]).toBe(2_000_001);
    const next = fromBinary(OutcomeGroupSchema, codec.writeGroup(1, 1_999.999_9, [outcome]));
    expect(next.table?.endTime).toMatchObject({ seconds: 2n, nanos: 0 });
  });

  it("cuts a time that no receiver would take, and with it the group", () => {
    const [queueMs, runMs] = [1.8e12, Number.POSITIVE_INFINITY];
    const group = read(1, [{ ...outcome, queueMs, runMs }]);
    const longest = 2 ** 49 - 1;
    expect(readVarints(group.table!.attempts)).toEqual([0, 0, longest, longest, 2]);
    expect(createValidator().validate(OutcomeGroupSchema, group).kind).toBe("valid");
  });

  it("keeps each group apart from the one before it", () => {
    expect(outcomesOf(read(1, [outcome, outcome]))).toHaveLength(2);
    const { table } = read(2, [{ ...outcome, jobId: "job_9" }]);
    expect(table).toMatchObject({ jobIds: ["job_9"], kinds: [{ lastTaskId: "task_1" }] });
  });
});

describe("tryExpandGroup", () => {
  const older = (outcomes: readonly AttemptOutcome[]) => {
    const data = tryExpandGroup(codec.writeGroup(7, ENDED_AT_MS, outcomes));
    return fromBinary(OutcomeGroupSchema, data ?? Buffer.alloc(0));
  };

  it("tells a table as outcomes one by one", () => {
    const { position, outcomes, table } = older([outcome, { ...outcome, workMs: undefined }]);
    expect([position, table]).toEqual([7n, undefined]);
    expect(outcomes).toMatchObject([
      {
        namespace: "default",
        jobId: "job_1",
        taskId: "task_1",
        agentId: "agent-ä",
        capability: "text.analyse",
        success: false,
        reason: "AGENT_ERROR",
        queueTime: { seconds: 0n, nanos: 0 },
        runTime: { seconds: 61n, nanos: 234_567_000 },
        workTime: { seconds: 0n, nanos: 1_000 },
      },
      { jobId: "job_1" },
    ]);
    expect(timestampMs(outcomes[0]!.endTime!)).toBe(1_800_000_000_123);
    expect(outcomes[1]?.workTime).toBeUndefined();
  });

  it("keeps the rules of the contract before tables", () => {
    const { outcomes } = older([outcome]);
    expect(createValidator().validate(OutcomeGroupSchema, older([outcome])).kind).toBe("valid");
    expect(outcomes).toMatchObject([{ fence: 1n, attempt: 1 }]);
  });

  it("has nothing to tell of what cannot be read", () => {
    const [kind, cut] = [Buffer.from([1, 0, 1, 1, 1]), Buffer.from([0, 0, 1, 1, 0x80])];
    for (const attempts of [kind, cut]) {
      const group = read(1, [outcome]);
      group.table!.attempts = attempts;
      expect(tryExpandGroup(toBinary(OutcomeGroupSchema, group))).toBeUndefined();
    }
    expect(tryExpandGroup(Buffer.from([0xff]))).toBeUndefined();
  });

  it("has nothing to tell in another way of a group without a table", () => {
    expect(
      tryExpandGroup(tryExpandGroup(codec.writeGroup(7, ENDED_AT_MS, [outcome]))!),
    ).toBeUndefined();
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
