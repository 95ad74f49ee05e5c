import { create } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { BatchGetEntriesRequestSchema } from "@nexus/proto/mesh";
import { SubmitJobRequestSchema, TaskSpecSchema } from "@nexus/proto/orchestrator";
import {
  AgentState,
  ReportOutcomesRequestSchema,
  ReportPresenceRequestSchema,
} from "@nexus/proto/registry";
import { describe, expect, it } from "vitest";
import { contractMessages, pickFrom, randomMessage } from "../wire/random-message.fake.ts";
import { surelyValid } from "./quick-rules.ts";

const RUNS = 150;
const validator = createValidator();
let sure = 0;

const outcome = {
  namespace: "default",
  jobId: "job_1",
  taskId: "task_1",
  fence: 1n,
  agentId: "agent",
  capability: "text.analyse",
  attempt: 1,
  success: true,
  endTime: { seconds: 1n },
};

function judge(change: object, stream = "stream", position = 1n): boolean {
  const outcomes = [outcome, { ...outcome, ...change }];
  const init = { stream, groups: [{ position, outcomes }] };
  const message = create(ReportOutcomesRequestSchema, init);
  const isSure = surelyValid(ReportOutcomesRequestSchema, message);
  const isValid = validator.validate(ReportOutcomesRequestSchema, message).kind === "valid";
  // Each rule of this message is one that is known.
  expect(isSure).toBe(isValid);
  return isSure;
}

describe("surelyValid", () => {
  it("is sure of lists of texts whose members must differ, and do", () => {
    const keys = (...all: string[]) =>
      create(BatchGetEntriesRequestSchema, { bucket: "b", keys: all });
    for (const message of [keys("a"), keys("a", "b"), keys("a", "b", "a"), keys("a", ""), keys()]) {
      const isValid = validator.validate(BatchGetEntriesRequestSchema, message).kind === "valid";
      expect(surelyValid(BatchGetEntriesRequestSchema, message)).toBe(isValid);
    }
  });

  it.each(contractMessages().map((schema) => [schema.typeName, schema] as const))(
    "is sure of no %s that breaks a rule",
    (_name, schema) => {
      for (let seed = 0; seed < RUNS; seed += 1) {
        const message = randomMessage(schema, pickFrom(seed));
        if (!surelyValid(schema, message)) continue;
        sure += 1;
        expect(validator.validate(schema, message).kind).toBe("valid");
      }
    },
  );

  it.each(contractMessages().map((schema) => [schema.typeName, schema] as const))(
    "is of rules that compile: %s",
    (_name, schema) => {
      const result = validator.validate(schema, create(schema));
      expect(result.kind === "error" ? result.error : undefined).toBeUndefined();
    },
  );

  it("is sure of many messages", () => {
    expect(sure).toBeGreaterThan(1_000);
  });

  it.each([
    ["nothing", {}, true],
    ["the longest id", { agentId: "a".repeat(128) }, true],
    ["an id that is too long", { agentId: "a".repeat(129) }, false],
    ["no id", { agentId: "" }, false],
    ["a fence of 0", { fence: 0n }, false],
    ["an attempt of 0", { attempt: 0 }, false],
    ["no end", { endTime: undefined }, false],
    ["a reason that is too long", { reason: "R".repeat(129) }, false],
  ])("judges an outcome with %s in the middle of a call", (_name, change, expected) => {
    expect(judge(change)).toBe(expected);
  });

  it.each([
    ["no objective", "", true],
    ["an objective of the most bytes", "\u20ac".repeat(5_461), true],
    ["one that is a byte too long", `aa${"\u20ac".repeat(5_461)}`, false],
  ])("judges a submission with %s", (_name, objective, expected) => {
    const tasks = [{ key: "a", capability: "text.analyse", input: { data: new Uint8Array(9) } }];
    const message = create(SubmitJobRequestSchema, { requestId: "r", objective, tasks });
    const isValid = validator.validate(SubmitJobRequestSchema, message).kind === "valid";
    expect([surelyValid(SubmitJobRequestSchema, message), isValid]).toEqual([expected, expected]);
  });

  it.each([
    ["a SHA-256", 32, true],
    ["31 bytes", 31, false],
    ["33 bytes", 33, false],
  ])("judges an input that refers to %s", (_name, length, expected) => {
    const reference = { sha256: new Uint8Array(length), sizeBytes: 1n };
    const tasks = [{ key: "a", capability: "text.analyse", input: { reference } }];
    const message = create(SubmitJobRequestSchema, { requestId: "r", tasks });
    const isValid = validator.validate(SubmitJobRequestSchema, message).kind === "valid";
    expect([surelyValid(SubmitJobRequestSchema, message), isValid]).toEqual([expected, expected]);
  });

  it.each([
    ["a key", "part-1.a", true],
    ["the longest key", "k".repeat(128), true],
    ["a key that is too long", "k".repeat(129), false],
    ["a key that begins with a dash", "-part", false],
    ["a key with a line break behind it", "part\n", false],
    ["a key of other letters", "größe", false],
  ])("judges %s by its pattern", (_name, key, expected) => {
    const message = create(TaskSpecSchema, { key, capability: "text.analyse" });
    expect(surelyValid(TaskSpecSchema, message)).toBe(expected);
    expect(validator.validate(TaskSpecSchema, message).kind === "valid").toBe(expected);
  });

  it.each([
    ["a state", AgentState.BUSY, true],
    ["no state", AgentState.UNSPECIFIED, false],
    ["a state that nobody knows", 99 as AgentState, false],
  ])("judges %s of an agent", (_name, state, expected) => {
    const presence = { namespace: "default", agentId: "a", epoch: 1n, state, slots: 1 };
    const init = { routerId: "router-1", presences: [presence] };
    const message = create(ReportPresenceRequestSchema, init);
    expect(surelyValid(ReportPresenceRequestSchema, message)).toBe(expected);
    const { kind } = validator.validate(ReportPresenceRequestSchema, message);
    expect(kind === "valid").toBe(expected);
  });

  it("judges the fields of outer messages", () => {
    expect(judge({}, "")).toBe(false);
    expect(judge({}, "s".repeat(513))).toBe(false);
    expect(judge({}, "s", 0n)).toBe(false);
  });

  it("leaves long texts of few characters to the full rules", () => {
    const message = create(ReportOutcomesRequestSchema, {
      stream: "s",
      groups: [{ position: 1n, outcomes: [{ ...outcome, agentId: "😀".repeat(100) }] }],
    });
    expect(surelyValid(ReportOutcomesRequestSchema, message)).toBe(false);
    expect(validator.validate(ReportOutcomesRequestSchema, message).kind).toBe("valid");
  });
});
