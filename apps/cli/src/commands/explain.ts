import {
  type Attempt,
  ExplainTaskResponseSchema,
  type RoutingDecision,
} from "@nexus/proto/orchestrator";
import type { CommandContext, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { writeJson } from "../show.ts";
import { usageError } from "../usage-error.ts";

/** Explains a routing. */
export const jobsExplainCommand: CommandSpec = {
  usage: "jobs explain <task>",
  about: "Say which agents were considered for a task and why; <task> is an id or job/key",
  example: "nexus jobs explain job_0192f0c1/compose",
  run: async (ctx, args) => {
    const taskId = await resolveTask(ctx, args.at(0));
    const response = await ctx.client().jobs.explainTask({ taskId });
    if (ctx.format === "json") {
      writeJson(ctx, ExplainTaskResponseSchema, response);
      return EXIT.ok;
    }
    for (const attempt of response.attempts) writeAttempt(ctx, attempt);
    if (response.now !== undefined) {
      writeLine(ctx, "now:");
      writeDecision(ctx, response.now);
    }
    if (response.attempts.length === 0 && response.now === undefined) {
      writeLine(ctx, "The task has not been routed yet: it waits for other tasks.");
    }
    return EXIT.ok;
  },
};

async function resolveTask(ctx: CommandContext, text: string): Promise<string> {
  const slash = text.indexOf("/");
  if (slash < 0) return text;
  const [jobId, key] = [text.slice(0, slash), text.slice(slash + 1)];
  const { jobs } = ctx.client();
  let pageToken = "";
  do {
    const { tasks, page } = await jobs.listTasks({ jobId, page: { pageSize: 1_000, pageToken } });
    const found = tasks.find((task) => task.spec?.key === key);
    if (found !== undefined) return found.taskId;
    pageToken = page?.nextPageToken ?? "";
  } while (pageToken !== "");
  throw usageError(`The job ${jobId} has no task "${key}".`);
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
  const chosen = decision.agentId || "nobody";
  const share = decision.exploration ? ", by exploration" : "";
  writeLine(
    ctx,
    `  ${chosen} of ${decision.eligible} eligible, score ${decision.score.toFixed(3)}${share}`,
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
