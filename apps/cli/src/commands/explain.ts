import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  type Attempt,
  ExplainTaskResponseSchema,
  type RoutingDecision,
  type Task,
  TaskState,
} from "@nexus/proto/orchestrator";
import type { CommandContext, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showEnum, showTime, writeJson } from "../show.ts";
import { findTaskId } from "./task-names.ts";

/** How long a task waits for an agent when it does not say; the contract's default. */
const SCHEDULE_TO_START_DEFAULT_MS = 3_600_000;
const MS_PER_S = 1_000;

/** Explains a routing. */
export const jobsExplainCommand: CommandSpec = {
  usage: "jobs explain <task>",
  about: "Say which agents were considered for a task and why; <task> is an id or job/key",
  example: "nexus jobs explain job_0192f0c1/compose",
  run: async (ctx, args) => {
    const taskId = await findTaskId(ctx, args.at(0));
    const response = await ctx.client().jobs.explainTask({ taskId });
    if (ctx.format === "json") {
      writeJson(ctx, ExplainTaskResponseSchema, response);
      return EXIT.ok;
    }
    if (response.task !== undefined) writeStanding(ctx, response.task);
    for (const attempt of response.attempts) writeAttempt(ctx, attempt);
    if (response.now !== undefined) {
      writeLine(ctx, "now:");
      writeDecision(ctx, response.now);
    }
    return EXIT.ok;
  },
};

/** Where the task is, and what it waits for: most of it no agent was ever considered for. */
function writeStanding(ctx: CommandContext, task: Task): void {
  const { spec, failure } = task;
  const about = `${spec?.key ?? task.taskId} (${spec?.capability ?? ""})`;
  const why = failure === undefined ? "" : `: ${[failure.reason, failure.message].join(", ")}`;
  writeLine(ctx, `${about} is ${showEnum(TaskState, task.state)}${why}`);
  if (spec?.map !== undefined) {
    const { source } = spec.map;
    writeLine(ctx, `  each element of ${source} is a task of its own: ${spec.key}#0 and so on`);
  } else if (task.state === TaskState.BLOCKED) {
    const upstream = spec?.dependencies.map(({ taskKey }) => taskKey) ?? [];
    writeLine(ctx, `  runs behind ${upstream.join(", ")}`);
  } else if (task.state === TaskState.READY) {
    const timeout = spec?.scheduleToStartTimeout;
    const ms = timeout === undefined ? SCHEDULE_TO_START_DEFAULT_MS : durationMs(timeout);
    const since = showTime(task.readyTime);
    writeLine(ctx, `  waits since ${since} for an agent, for ${ms / MS_PER_S} s at most`);
  }
}

function writeAttempt(ctx: CommandContext, attempt: Attempt): void {
  const failure = attempt.failure === undefined ? "" : `: ${attempt.failure.reason}`;
  const outcome = attempt.outcome || "RUNNING";
  writeLine(ctx, `attempt ${attempt.attempt} on ${attempt.agentId} ${outcome}${failure}`);
  if (attempt.decision !== undefined) writeDecision(ctx, attempt.decision);
}

function writeDecision(ctx: CommandContext, decision: RoutingDecision): void {
  const factors = Object.entries(decision.factors).map(
    ([name, value]) => `${name} ${value.toFixed(2)}`,
  );
  const share = decision.exploration ? ", by exploration" : "";
  writeLine(
    ctx,
    decision.agentId === ""
      ? "  nobody can take it"
      : `  ${decision.agentId} of ${decision.eligible} eligible, score ${decision.score.toFixed(3)}${share}`,
  );
  if (factors.length > 0) writeLine(ctx, `  ${factors.join(", ")}`);
  if (decision.fallbackAgentId !== "") {
    writeLine(
      ctx,
      `  next best: ${decision.fallbackAgentId}, ${decision.fallbackScore.toFixed(3)}`,
    );
  }
  for (const { agentId, reason } of decision.rejections) {
    writeLine(ctx, `  not ${agentId}: ${reason}`);
  }
}
