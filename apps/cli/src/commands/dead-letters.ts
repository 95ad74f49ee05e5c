import { randomUUID } from "node:crypto";
import {
  ListDeadLettersResponseSchema,
  RedriveDeadLettersResponseSchema,
} from "@nexus/proto/orchestrator";
import type { CommandArguments, CommandSpec, FlagSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showTime, writeJson, writeTable } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { parseLimit } from "./numbers.ts";
import { parseTime } from "./times.ts";

const REDRIVE_MAX = 100;

const FILTER_FLAGS: readonly FlagSpec[] = [
  { flags: "--capability <name>", about: "only tasks that need this capability" },
  { flags: "--reason <word>", about: "only tasks that failed for this reason" },
  { flags: "--job <job>", about: "only tasks of this job" },
  { flags: "--agent <agent>", about: "only tasks that this agent had last" },
  { flags: "--since <time>", about: "only failures then or later, e.g. 90m or 2026-11-26" },
  { flags: "--before <time>", about: "only failures before then" },
];

/** Lists tasks that failed for good. */
export const deadLettersListCommand: CommandSpec = {
  usage: "dead-letters list",
  about: "List tasks that failed for good, the latest first",
  example: "nexus dead-letters list --reason AGENT_ERROR --limit 20",
  flags: [
    ...FILTER_FLAGS,
    { flags: "--redriven", about: "show those too that were run again" },
    { flags: "--limit <n>", about: "how many at most, 1 to 1000", default: "50" },
  ],
  run: async (ctx, args) => {
    const response = await ctx.client().jobs.listDeadLetters({
      filter: toFilter(args),
      includeRedriven: args.isSet("redriven"),
      page: { pageSize: parseLimit(args.text("limit")) },
    });
    if (ctx.format === "json") {
      writeJson(ctx, ListDeadLettersResponseSchema, response);
    } else if (ctx.format === "name") {
      for (const { taskId } of response.deadLetters) writeLine(ctx, taskId);
    } else {
      const rows = response.deadLetters.map((letter) => [
        letter.taskId,
        letter.taskKey,
        letter.capability,
        letter.failure?.reason ?? "-",
        letter.agentId || "-",
        String(letter.attempts),
        showTime(letter.failTime),
        letter.redrivenJobId || "-",
      ]);
      writeTable(
        ctx,
        ["task", "key", "capability", "reason", "agent", "attempts", "failed", "redriven as"],
        rows,
      );
    }
    return EXIT.ok;
  },
};

/** Runs tasks again that failed for good. */
export const deadLettersRedriveCommand: CommandSpec = {
  usage: "dead-letters redrive",
  about: "Run failed tasks again, each as a job of its own; at most 100 a call",
  example: "nexus dead-letters redrive --capability summarise --reason AGENT_ERROR",
  flags: [
    { flags: "--task <task>", about: "this one, instead of a filter", many: true },
    ...FILTER_FLAGS,
    { flags: "--all", about: "every one, instead of a filter" },
    { flags: "--limit <n>", about: "how many at most, 1 to 100", default: String(REDRIVE_MAX) },
    { flags: "--request-id <id>", about: "makes a repeated command the same one" },
  ],
  run: async (ctx, args) => {
    const response = await ctx.client().jobs.redriveDeadLetters({
      requestId: args.text("requestId") ?? randomUUID(),
      ...toChoice(args),
    });
    if (ctx.format === "json") {
      writeJson(ctx, RedriveDeadLettersResponseSchema, response);
      return EXIT.ok;
    }
    if (ctx.format === "name") {
      for (const { jobId } of response.redrives) writeLine(ctx, jobId);
      return EXIT.ok;
    }
    const rows = response.redrives.map(({ taskId, jobId, earlier }) => [
      taskId,
      jobId,
      earlier ? "before" : "now",
    ]);
    writeTable(ctx, ["task", "job", "redriven"], rows);
    if (response.more) writeLine(ctx, "\nMore are left: run the command again.");
    return EXIT.ok;
  },
};

/** A bare `redrive` would mean everything, so that has to be said. */
function toChoice(args: CommandArguments) {
  const taskIds = [...args.texts("task")];
  const filter = toFilter(args);
  const filtered = Object.keys(filter).length > 0;
  const chosen = [taskIds.length > 0, filtered, args.isSet("all")].filter(Boolean).length;
  if (chosen !== 1) throw usageError("Give one of --task, --all, or flags that filter.");
  if (taskIds.length > 0) return { taskIds };
  const limit = parseLimit(args.text("limit"));
  if (limit > REDRIVE_MAX) throw usageError(`--limit is at most ${REDRIVE_MAX}.`);
  return { filter, limit };
}

function toFilter(args: CommandArguments) {
  const capability = args.text("capability");
  const reason = args.text("reason");
  const jobId = args.text("job");
  const agentId = args.text("agent");
  const failedSince = parseTime("since", args.text("since"));
  const failedBefore = parseTime("before", args.text("before"));
  return {
    ...(capability === undefined ? {} : { capability }),
    ...(reason === undefined ? {} : { reason }),
    ...(jobId === undefined ? {} : { jobId }),
    ...(agentId === undefined ? {} : { agentId }),
    ...(failedSince === undefined ? {} : { failedSince }),
    ...(failedBefore === undefined ? {} : { failedBefore }),
  };
}
