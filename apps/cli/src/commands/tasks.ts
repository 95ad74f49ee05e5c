import {
  GetTaskResponseSchema,
  type Task,
  TaskState,
  type TaskStreamEvent,
  TaskStreamEventSchema,
} from "@nexus/proto/orchestrator";
import { fromPayload } from "@nexus/sdk";
import type { CommandContext, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeBytes, writeLine } from "../output.ts";
import { showEnum, showTime, writeJson, writeJsonLine, writeTable } from "../show.ts";
import { FAILURES_MAX, follow } from "./follow.ts";
import { findTaskId } from "./task-names.ts";

/** Shows one task. */
export const tasksGetCommand: CommandSpec = {
  usage: "tasks get <task>",
  about: "Show a task and what came out of it; <task> is an id or job/key",
  example: "nexus tasks get task_0192f0c1 -o json",
  run: async (ctx, args) => {
    const response = await ctx.client().jobs.getTask({ taskId: await findTaskId(ctx, args.at(0)) });
    const { task } = response;
    if (ctx.format === "json") writeJson(ctx, GetTaskResponseSchema, response);
    else if (ctx.format === "name") writeLine(ctx, task?.taskId ?? "");
    else if (task !== undefined) show(ctx, task);
    return EXIT.ok;
  },
};

function show(ctx: CommandContext, task: Task): void {
  const head = ["task", "state", "capability", "attempts", "agent", "progress", "created", "ended"];
  writeTable(ctx, head, [
    [
      task.spec?.key ?? "",
      showEnum(TaskState, task.state),
      task.spec?.capability ?? "",
      String(task.attempts),
      task.agentId || "-",
      `${Math.round(task.progress * 100)} %`,
      showTime(task.createTime),
      showTime(task.endTime),
    ],
  ]);
  if (task.failure !== undefined) {
    writeLine(ctx, `\n${task.failure.reason}: ${task.failure.message}`);
  }
  if (task.output === undefined) return;
  const value = fromPayload(task.output);
  writeLine(ctx, "");
  writeLine(ctx, typeof value === "string" ? value : JSON.stringify(value, null, 2));
}

/** Follows one task. */
export const tasksWatchCommand: CommandSpec = {
  usage: "tasks watch <task>",
  about: "Print what a task puts out until it ends; exit code 7 when it does not succeed",
  example: "nexus tasks watch task_0192f0c1",
  run: async (ctx, args) => {
    return watchTask(ctx, await findTaskId(ctx, args.at(0)));
  },
};

/** Prints what a task puts out until it ends, over broken streams too: each chunk once. Returns the exit code. */
function watchTask(ctx: CommandContext, taskId: string): Promise<number> {
  let place = { afterFence: 0n, afterSequence: 0n };
  return follow(ctx, {
    failuresMax: FAILURES_MAX,
    open: () => ctx.client().jobs.watchTask({ taskId, ...place }, { signal: ctx.signal }),
    take: ({ events }) => {
      for (const event of events) {
        place = placeBehind(event) ?? place;
        print(ctx, event);
      }
      return events.map(endOf).find((code) => code !== undefined);
    },
  });
}

function placeBehind({ event }: TaskStreamEvent) {
  if (event.case === "attemptStarted") return { afterFence: event.value.fence, afterSequence: 0n };
  if (event.case !== "chunk") return undefined;
  return { afterFence: event.value.fence, afterSequence: event.value.sequence };
}

function endOf({ event }: TaskStreamEvent): number | undefined {
  if (event.case !== "standing") return undefined;
  switch (event.value.state) {
    case TaskState.SUCCEEDED:
      return EXIT.ok;
    case TaskState.FAILED:
    case TaskState.CANCELLED:
    case TaskState.SKIPPED:
      return EXIT.awaitedFailed;
    default:
      return undefined;
  }
}

/** Chunks go out as they are, so that they can be piped; what is said about them goes to the other stream. */
function print(ctx: CommandContext, stream: TaskStreamEvent): void {
  if (ctx.format === "json") {
    writeJsonLine(ctx, TaskStreamEventSchema, stream);
    return;
  }
  const { event } = stream;
  if (event.case === "chunk") writeBytes(ctx, event.value.data);
  else if (ctx.format === "table") note(ctx, describe(stream));
}

function describe({ event }: TaskStreamEvent): string {
  switch (event.case) {
    case "standing": {
      const { state, agentId, failure } = event.value;
      const by = agentId === "" ? "" : ` on ${agentId}`;
      const why = failure === undefined ? "" : `: ${failure.reason} ${failure.message}`;
      return `${showEnum(TaskState, state)}${by}${why}`;
    }
    case "attemptStarted": {
      const { attempt, agentId, restarted } = event.value;
      const again = restarted ? "; what was put out before no longer counts" : "";
      return `attempt ${attempt} on ${agentId}${again}`;
    }
    case "progress":
      return `${Math.round(event.value.progress * 100)} % ${event.value.message}`.trimEnd();
    case "gap":
      return `chunks are missing after ${event.value.afterSequence}`;
    default:
      return "";
  }
}

function note(ctx: CommandContext, text: string): void {
  ctx.terminal.stderr.write(`${text}\n`);
}
