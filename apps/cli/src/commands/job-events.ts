import { toJson } from "@bufbuild/protobuf";
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
import { showEnum } from "../show.ts";

const RECONNECT = { initialMs: 200, multiplier: 2, maxMs: 5_000, jitter: 0.5 };
const FAILURES_MAX = 10;

/** Prints a job's events until it ends, over broken streams too. Returns the exit code. */
export async function watchJob(ctx: CommandContext, jobId: string): Promise<number> {
  const place: Place = { afterSequence: 0n, failures: 0 };
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
    for (const event of events) {
      place.afterSequence = event.sequence;
      print(ctx, event);
    }
    const end = events.map(endOf).find((code) => code !== undefined);
    if (end !== undefined) return end;
  }
  return undefined;
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
    writeLine(ctx, JSON.stringify(toJson(JobEventSchema, event)));
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
