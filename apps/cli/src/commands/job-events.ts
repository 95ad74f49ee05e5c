import {
  type JobEvent,
  JobEventSchema,
  JobState,
  type TaskChanged,
  TaskState,
} from "@nexus/proto/orchestrator";
import { backoffDelayMs, NexusError, sleep } from "@nexus/shared";
import type { CommandContext } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showEnum, writeJsonLine } from "../show.ts";

const RECONNECT = { initialMs: 200, multiplier: 2, maxMs: 5_000, jitter: 0.5 };
const FAILURES_MAX = 10;
/** Of a silent job. */
const TASKS_LOOKED_AT = 1_000;
const WAITS_EXPLAINED = 3;

/** Prints a job's events until it ends, over broken streams too. Returns the exit code. */
export async function watchJob(ctx: CommandContext, jobId: string): Promise<number> {
  const place: Place = { afterSequence: 0n, isExplained: false, failures: 0 };
  for (;;) {
    try {
      const end = (await followOnce(ctx, jobId, place)) ?? (await endOfJob(ctx, jobId));
      if (end !== undefined) return end;
      await sleep(RECONNECT.initialMs, ctx.signal);
    } catch (error) {
      place.failures += 1;
      const again = NexusError.from(error).kind === "unavailable" && place.failures < FAILURES_MAX;
      if (!again) throw error;
      await sleep(backoffDelayMs(place.failures, RECONNECT), ctx.signal);
    }
  }
}

/** How far a watch has come. */
interface Place {
  afterSequence: bigint;
  /** Nothing has happened since, and why was said. */
  isExplained: boolean;
  /** Broken streams since the last event. */
  failures: number;
}

async function followOnce(
  ctx: CommandContext,
  jobId: string,
  place: Place,
): Promise<number | undefined> {
  const { jobs } = ctx.client();
  const request = { jobId, afterSequence: place.afterSequence };
  for await (const { events } of jobs.watchJob(request, { signal: ctx.signal })) {
    place.failures = 0;
    // The stream is silent for seconds before it sends an empty message.
    if (events.length === 0 && !place.isExplained) await explainSilence(ctx, jobId);
    place.isExplained = events.length === 0;
    for (const event of events) {
      place.afterSequence = event.sequence;
      print(ctx, event);
    }
    const end = events.map(endOf).find((code) => code !== undefined);
    if (end !== undefined) return end;
  }
  return undefined;
}

/** Says on standard error why nothing happens, if it is for want of agents. */
async function explainSilence(ctx: CommandContext, jobId: string): Promise<void> {
  if (ctx.format !== "table") return;
  const { jobs } = ctx.client();
  const { tasks } = await jobs.listTasks({ jobId, page: { pageSize: TASKS_LOOKED_AT } });
  const waiting = tasks.filter(({ state }) => state === TaskState.READY);
  for (const { taskId, spec } of waiting.slice(0, WAITS_EXPLAINED)) {
    const { now } = await jobs.explainTask({ taskId });
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
