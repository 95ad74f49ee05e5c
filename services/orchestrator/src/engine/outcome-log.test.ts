import type { Queryable } from "@nexus/postgres";
import { describe, expect, it } from "vitest";
import { OUTCOMES_PER_GROUP_MAX } from "../domain/outcome.ts";
import { settle } from "../domain/settlement.ts";
import { DEFAULT_RETRY } from "../domain/task.ts";
import { addAgent, fakeFleet, fakeLease } from "./engine.fake.ts";
import { OutcomeLog } from "./outcome-log.ts";

const DONE = {
  kind: "COMPLETED",
  output: { contentType: "", data: new Uint8Array() },
} as const;

/** A log whose groups are kept as their tasks. */
function setUp() {
  const rows: { position: number; outcomes: number; tasks: string[] }[] = [];
  const client = {
    query: async (_: unknown, [, position, outcomes, data]: [string, number, number, Buffer]) => {
      rows.push({ position, outcomes, tasks: data.toString().split(" ") });
      return { rows: [], rowCount: 1 };
    },
  } as unknown as Queryable;
  const log = new OutcomeLog("stream", {
    writeGroup: (_position, _endedAtMs, outcomes) =>
      Buffer.from(outcomes.map(({ taskId }) => taskId).join(" ")),
  });
  const agent = addAgent(fakeFleet(), "a");
  const policy = { retry: DEFAULT_RETRY, uncostedAttemptsMax: 10, random: () => 0 };
  const settlement = settle(DONE, { attempts: 1, charged: 0 }, policy);
  const append = async (count: number): Promise<string[]> => {
    const ended = Array.from({ length: count }, () => {
      const live = fakeLease(agent, 1n);
      const { taskId } = live.lease.task;
      const order = {
        kind: "end",
        taskId,
        fence: 1n,
        by: undefined,
        hear: () => undefined,
        outcome: undefined,
        ending: DONE,
      } as const;
      return { live, order, settlement };
    });
    const stored = { readyAtMs: 0, startedAtMs: undefined, endedAtMs: 1 };
    const settled = ended.map(() => stored);
    await log.append(client, ended, settled);
    return ended.map(({ order }) => order.taskId);
  };
  return { rows, append };
}

describe("OutcomeLog", () => {
  it("writes what a transaction ended as one group, and nothing where nothing ended", async () => {
    const { rows, append } = setUp();
    await append(0);
    expect(rows).toEqual([]);
    const tasks = await append(OUTCOMES_PER_GROUP_MAX);
    expect(rows).toEqual([{ position: tasks.length, outcomes: tasks.length, tasks }]);
  });

  it("cuts what is more than receivers take into groups, in order", async () => {
    const { rows, append } = setUp();
    const tasks = await append(2 * OUTCOMES_PER_GROUP_MAX + 1);
    expect(rows.map(({ position }) => position)).toEqual([1_000, 2_000, 2_001]);
    expect(rows.map(({ outcomes }) => outcomes)).toEqual([1_000, 1_000, 1]);
    expect(rows.flatMap((row) => row.tasks)).toEqual(tasks);
  });
});
