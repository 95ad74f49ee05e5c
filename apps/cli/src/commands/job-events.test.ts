import { setImmediate as turn } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import {
  ExplainTaskResponseSchema,
  JobState,
  ListTasksResponseSchema,
  TaskState,
  WatchJobResponseSchema,
} from "@nexus/proto/orchestrator";
import { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { CommandContext } from "../command.ts";
import { createFakeTerminal } from "../terminal.fake.ts";
import { watchJob } from "./job-events.ts";

const AWAY = new NexusError({ kind: "unavailable", reason: "UNAVAILABLE", message: "away" });
const SILENCE = create(WatchJobResponseSchema);
const DONE = create(WatchJobResponseSchema, {
  events: [{ sequence: 1n, event: { case: "jobChanged", value: { state: JobState.COMPLETED } } }],
});
const READY = create(ListTasksResponseSchema, {
  tasks: [{ taskId: "task_1", state: TaskState.READY, spec: { key: "only", capability: "c" } }],
});
const NOBODY = create(ExplainTaskResponseSchema, { now: { agentId: "" } });

interface Explaining {
  readonly listTasks: () => Promise<unknown>;
  readonly explainTask?: () => Promise<unknown>;
}

/** Watches a job that is silent twice, and over as soon as the explanation had its turn. */
async function watch({ listTasks, explainTask = () => Promise.resolve(NOBODY) }: Explaining) {
  const { terminal, stdout, stderr } = createFakeTerminal();
  let asked = 0;
  const jobs = {
    async *watchJob() {
      yield SILENCE;
      await turn();
      yield SILENCE;
      await turn();
      yield DONE;
    },
    listTasks: () => {
      asked += 1;
      return listTasks();
    },
    explainTask,
  };
  const ctx = {
    terminal,
    format: "table",
    client: () => ({ jobs }),
    signal: new AbortController().signal,
  };
  const code = await watchJob(ctx as unknown as CommandContext, "job_1");
  return { code, asked, stdout: stdout(), stderr: stderr() };
}

describe("the watch of a job in which nothing happens", () => {
  it("says once why, on standard error, and goes on", async () => {
    const { code, asked, stdout, stderr } = await watch({
      listTasks: () => Promise.resolve(READY),
    });
    expect([code, asked, stdout]).toEqual([0, 1, "job completed\n"]);
    expect(stderr).toBe(
      "  only waits: nobody can do c now; nexus jobs explain job_1/only says why\n",
    );
  });

  it.each([
    ["its tasks cannot be read", { listTasks: () => Promise.reject(AWAY) }],
    [
      "a task cannot be explained",
      { listTasks: () => Promise.resolve(READY), explainTask: () => Promise.reject(AWAY) },
    ],
    ["no answer comes", { listTasks: () => new Promise<never>(() => undefined) }],
  ])("goes on without a word when %s", async (_what, explaining) => {
    expect(await watch(explaining)).toEqual({
      code: 0,
      asked: 1,
      stdout: "job completed\n",
      stderr: "",
    });
  });
});
