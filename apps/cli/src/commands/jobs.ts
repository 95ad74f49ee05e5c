import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { create, type JsonValue } from "@bufbuild/protobuf";
import {
  CancelJobResponseSchema,
  GetJobResponseSchema,
  JobState,
  ListJobsResponseSchema,
  SubmitJobResponseSchema,
  TaskState,
} from "@nexus/proto/orchestrator";
import { fromPayload, toPayload } from "@nexus/sdk";
import type { CommandArguments, CommandContext, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showEnum, writeJson, writeTable } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { watchJob } from "./job-events.ts";
import { JOB_HEAD, jobRow } from "./job-table.ts";
import { readTasks } from "./job-tasks.ts";
import { parseLimit, parsePriority } from "./numbers.ts";
import { readPages } from "./pages.ts";
import { parseCreated } from "./times.ts";

const LIMIT_DEFAULT = 50;

/** Submits a job. */
export const jobsSubmitCommand: CommandSpec = {
  usage: "jobs submit [objective]",
  about: "Submit an objective for a planner, or tasks from a file",
  example: 'nexus jobs submit "report on the documents" --input \'{"folder":"docs"}\' --wait',
  flags: [
    { flags: "--input <json>", about: "the planner's material, JSON or @file" },
    { flags: "--tasks <@file>", about: "JSON list of tasks (TaskSpec), instead of an objective" },
    { flags: "--priority <n>", about: "-100 to 100, higher runs first", default: "0" },
    { flags: "--label <key=value>", about: "label to find the job by", many: true },
    { flags: "--request-id <id>", about: "makes a repeated command the same job" },
    { flags: "--wait", about: "follow the job; exit code 7 when it does not complete" },
  ],
  run: submit,
};

async function submit(ctx: CommandContext, args: CommandArguments): Promise<number> {
  const input = args.text("input");
  const tasks = args.text("tasks");
  const { jobs } = ctx.client();
  const response = await jobs.submitJob({
    requestId: args.text("requestId") ?? randomUUID(),
    objective: args.at(0),
    tasks: tasks === undefined ? [] : await readTasks(ctx, readJson(tasks)),
    ...(input === undefined ? {} : { input: toPayload(readJson(input)) }),
    priority: parsePriority(args.text("priority")),
    labels: args.pairs("label"),
  });
  const jobId = response.job?.jobId ?? "";
  if (!args.isSet("wait")) {
    if (ctx.format === "json") writeJson(ctx, SubmitJobResponseSchema, response);
    else writeLine(ctx, jobId);
    return EXIT.ok;
  }
  if (ctx.format === "table") writeLine(ctx, jobId);
  return followSubmitted(ctx, jobId);
}

/** Whoever stops waiting may think that the job stops too. */
async function followSubmitted(ctx: CommandContext, jobId: string): Promise<number> {
  try {
    return await watchJob(ctx, jobId);
  } catch (error) {
    if (ctx.signal.aborted) {
      const { stderr } = ctx.terminal;
      stderr.write(`${jobId} goes on: \`nexus jobs watch ${jobId}\`, or \`nexus jobs cancel\`\n`);
    }
    throw error;
  }
}

function readJson(text: string): JsonValue {
  const source = text.startsWith("@") ? readFile(text.slice(1)) : text;
  try {
    return JSON.parse(source) as JsonValue;
  } catch {
    throw usageError(`This is not JSON: ${source.slice(0, 80)}`);
  }
}

function readFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    throw usageError(`The file ${path} cannot be read.`);
  }
}

/** Shows one job. */
export const jobsGetCommand: CommandSpec = {
  usage: "jobs get <job>",
  about: "Show a job, its tasks and its results",
  example: "nexus jobs get job_0192f0c1 -o json",
  run: async (ctx, args) => {
    const { jobs } = ctx.client();
    const response = await jobs.getJob({ jobId: args.at(0) });
    const { job } = response;
    if (ctx.format !== "table" || job === undefined) {
      if (ctx.format === "json") writeJson(ctx, GetJobResponseSchema, response);
      else writeLine(ctx, job?.jobId ?? "");
      return EXIT.ok;
    }
    writeTable(ctx, JOB_HEAD, [jobRow(job)]);
    if (job.failure !== undefined) {
      writeLine(ctx, `\n${job.failure.reason}: ${job.failure.message}`);
    }
    writeLine(ctx, "");
    const { tasks } = await jobs.listTasks({ jobId: job.jobId, page: { pageSize: 1_000 } });
    const rows = tasks.map((task) => [
      task.spec?.key ?? "",
      showEnum(TaskState, task.state),
      task.spec?.capability ?? "",
      String(task.attempts),
      task.agentId || "-",
      task.failure?.reason ?? "-",
      task.taskId,
    ]);
    writeTable(ctx, ["task", "state", "capability", "attempts", "agent", "failure", "id"], rows);
    for (const [key, payload] of Object.entries(job.results)) {
      const value = fromPayload(payload);
      writeLine(ctx, `\n${key}:`);
      writeLine(ctx, typeof value === "string" ? value : JSON.stringify(value, null, 2));
    }
    return EXIT.ok;
  },
};

/** Lists jobs. */
export const jobsListCommand: CommandSpec = {
  usage: "jobs list",
  about: "List jobs, newest first",
  example: "nexus jobs list --state failed --since 24h --limit 20",
  flags: [
    { flags: "--state <state>", about: "only jobs in this state", many: true },
    { flags: "--label <key=value>", about: "only jobs with this label", many: true },
    { flags: "--since <time>", about: "only jobs submitted then or later, e.g. 90m or 2026-11-26" },
    { flags: "--until <time>", about: "only jobs submitted before then" },
    { flags: "--capability <name>", about: "only jobs with a task of this capability" },
    { flags: "--agent <id>", about: "only jobs of which this agent has or had a task" },
    { flags: "--by <principal>", about: "only jobs that this principal submitted" },
    { flags: "--limit <n>", about: "how many at most, 1 to 1000", default: String(LIMIT_DEFAULT) },
  ],
  run: list,
};

async function list(ctx: CommandContext, args: CommandArguments): Promise<number> {
  const limit = parseLimit(args.text("limit")) || LIMIT_DEFAULT;
  const filter = {
    states: args.texts("state").map(parseState),
    labels: args.pairs("label"),
    capability: args.text("capability") ?? "",
    agentId: args.text("agent") ?? "",
    principalId: args.text("by") ?? "",
    ...parseCreated(args),
  };
  const { jobs: service } = ctx.client();
  const { items: jobs, page } = await readPages(limit, async (page) => {
    const response = await service.listJobs({ ...filter, page });
    return { items: response.jobs, page: response.page };
  });
  const response = create(ListJobsResponseSchema, { jobs, page });
  if (ctx.format === "json") writeJson(ctx, ListJobsResponseSchema, response);
  else if (ctx.format === "name") for (const { jobId } of jobs) writeLine(ctx, jobId);
  else writeTable(ctx, JOB_HEAD, jobs.map(jobRow));
  return EXIT.ok;
}

/** Follows a job. */
export const jobsWatchCommand: CommandSpec = {
  usage: "jobs watch <job>",
  about: "Follow a job until it ends; exit code 7 when it does not complete",
  example: "nexus jobs watch job_0192f0c1",
  run: (ctx, args) => watchJob(ctx, args.at(0)),
};

/** Cancels a job. */
export const jobsCancelCommand: CommandSpec = {
  usage: "jobs cancel <job>",
  about: "Stop a job and the agents that work on it",
  example: 'nexus jobs cancel job_0192f0c1 --reason "wrong folder"',
  flags: [{ flags: "--reason <text>", about: "for the record" }],
  run: async (ctx, args) => {
    const response = await ctx.client().jobs.cancelJob({
      requestId: randomUUID(),
      jobId: args.at(0),
      reason: args.text("reason") ?? "",
    });
    if (ctx.format === "json") writeJson(ctx, CancelJobResponseSchema, response);
    else if (response.job !== undefined) {
      writeTable(ctx, JOB_HEAD, [jobRow(response.job)]);
      const { neverStarted, betweenAttempts, toldToStop } = response;
      writeLine(
        ctx,
        `\ncancelled: ${neverStarted} never started, ${betweenAttempts} between attempts, ${toldToStop} told to stop`,
      );
    }
    return EXIT.ok;
  },
};

function parseState(text: string): JobState {
  const entry = Object.entries(JobState).find(([name]) => name.toLowerCase() === text);
  if (entry === undefined || entry[1] === JobState.UNSPECIFIED) {
    throw usageError(`"${text}" is no state of a job.`);
  }
  return entry[1] as JobState;
}
