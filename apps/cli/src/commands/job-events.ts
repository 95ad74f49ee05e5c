import {
  type JobEvent,
  JobEventSchema,
  JobState,
  type TaskChanged,
  TaskState,
} from "@nexus/proto/orchestrator";
import type { CommandContext } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showEnum, writeJsonLine } from "../show.ts";
import { FAILURES_MAX, follow } from "./follow.ts";

/** Of a silent job. */
const TASKS_LOOKED_AT = 1_000;
const WAITS_EXPLAINED = 3;

/** Prints a job's events until it ends, over broken streams too. Returns the exit code. */
export function watchJob(ctx: CommandContext, jobId: string): Promise<number> {
  let afterSequence = 0n;
  /** Nothing has happened since, and why was said. */
  let isExplained = false;
  return follow(ctx, {
    failuresMax: FAILURES_MAX,
    open: () => ctx.client().jobs.watchJob({ jobId, afterSequence }, { signal: ctx.signal }),
    take: async ({ events }) => {
      // The stream is silent for seconds before it sends an empty message.
      if (events.length === 0 && !isExplained) void explainSilence(ctx, jobId);
      isExplained = events.length === 0;
      for (const event of events) {
        afterSequence = event.sequence;
        print(ctx, event);
      }
      return events.map(endOf).find((code) => code !== undefined);
    },
    end: () => endOfJob(ctx, jobId),
  });
}

/** Says on standard error why nothing happens, if it is for want of agents. Beside the watch, which goes on whatever becomes of it: what is not
 * known is not said. */
async function explainSilence(ctx: CommandContext, jobId: string): Promise<void> {
  if (ctx.format !== "table") return;
  try {
    await explainWaits(ctx, jobId);
  } catch {
    // The watch meets the same trouble, and tells of it.
  }
}

async function explainWaits(ctx: CommandContext, jobId: string): Promise<void> {
  const { jobs } = ctx.client();
  const { signal } = ctx;
  const request = { jobId, page: { pageSize: TASKS_LOOKED_AT } };
  const { tasks } = await jobs.listTasks(request, { signal });
  const waiting = tasks.filter(({ state }) => state === TaskState.READY);
  for (const { taskId, spec } of waiting.slice(0, WAITS_EXPLAINED)) {
    const { now } = await jobs.explainTask({ taskId }, { signal });
    if (now === undefined || now.agentId !== "") continue;
    const key = spec?.key ?? taskId;
    const { stderr } = ctx.terminal;
    stderr.write(`  ${key} waits: nobody can do ${spec?.capability ?? "it"} now; `);
    stderr.write(`nexus jobs explain ${jobId}/${key} says why\n`);
  }
}

/** A stream that ended well without the end's event is that of a job whose events are no longer kept. */
async function endOfJob(ctx: CommandContext, jobId: string): Promise<number | undefined> {
  const { job } = await ctx.client().jobs.getJob({ jobId });
  return job === undefined ? undefined : exitOf(job.state);
}

function endOf({ event }: JobEvent): number | undefined {
  return event.case === "jobChanged" ? exitOf(event.value.state) : undefined;
}

function exitOf(state: JobState): number | undefined {
  if (state === JobState.COMPLETED) return EXIT.ok;
  const awaited = [JobState.PARTIAL, JobState.FAILED, JobState.CANCELLED];
  return awaited.includes(state) ? EXIT.awaitedFailed : undefined;
}

function print(ctx: CommandContext, event: JobEvent): void {
  if (ctx.format === "json") {
    writeJsonLine(ctx, JobEventSchema, event);
    return;
  }
  const line = describe(event);
  if (line !== undefined && ctx.format === "table") writeLine(ctx, line);
}

function describe({ event }: JobEvent): string | undefined {
  switch (event.case) {
    case "jobChanged": {
      const { state, failure } = event.value;
      const why = failure === undefined ? "" : `: ${failure.reason} ${failure.message}`;
      return `job ${showEnum(JobState, state)}${why}`;
    }
    case "taskChanged":
      return describeTask(event.value);
    case "taskProgressed": {
      const { taskKey, progress, message } = event.value;
      return `  ${taskKey}: ${Math.round(progress * 100)} % ${message}`.trimEnd();
    }
    default:
      return undefined;
  }
}

function describeTask(change: TaskChanged): string {
  const by = change.agentId === "" ? "" : ` on ${change.agentId}`;
  const attempt = change.attempt > 1 ? ` (attempt ${change.attempt})` : "";
  const why = change.failure === undefined ? "" : `: ${change.failure.reason}`;
  return `  ${change.taskKey} ${showEnum(TaskState, change.state)}${by}${attempt}${why}`;
}
