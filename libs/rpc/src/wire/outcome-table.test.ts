import { create } from "@bufbuild/protobuf";
import { OutcomeTableSchema } from "@nexus/proto/common";
import { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { readTableAttempts } from "./outcome-table.ts";
import { WireWriter } from "./wire-writer.ts";

function tableOf(...numbers: number[]) {
  const writer = new WireWriter();
  for (const number of numbers) writer.varint(number);
  const kinds = [{ agentId: "a" }, { agentId: "b" }];
  return create(OutcomeTableSchema, { kinds, jobIds: ["job_1"], attempts: writer.take() });
}

describe("readTableAttempts", () => {
  it("reads each attempt's kind, job and times, and which times were not measured", () => {
    const longest = 2 ** 49 - 2;
    expect(readTableAttempts(tableOf(1, 0, 1, longest + 1, 0, 0, 0, 0, 2_000_001, 5))).toEqual([
      { kindAt: 1, jobId: "job_1", queueUs: 0, runUs: longest, workUs: undefined },
      { kindAt: 0, jobId: "job_1", queueUs: undefined, runUs: 2_000_000, workUs: 4 },
    ]);
    expect(readTableAttempts(tableOf(...Array.from({ length: 5_000 }, () => 0)))).toHaveLength(
      1_000,
    );
  });

  it.each([
    ["a kind that is not there", tableOf(2, 0, 1, 1, 1)],
    ["a job that is not there", tableOf(0, 1, 1, 1, 1)],
    ["an attempt that is cut off", tableOf(0, 0, 1, 1)],
    ["a time that is too long", tableOf(0, 0, 1, 1, 2 ** 50)],
    ["more than 1 000 attempts", tableOf(...Array.from({ length: 5_005 }, () => 0))],
  ])("refuses %s", (_, table) => {
    let failure: unknown;
    try {
      readTableAttempts(table);
    } catch (error) {
      failure = error;
    }
    expect(NexusError.is(failure, "invalid", "REQUEST_INVALID")).toBe(true);
  });
});
