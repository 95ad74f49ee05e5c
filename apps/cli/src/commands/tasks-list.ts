import { create } from "@bufbuild/protobuf";
import { SearchTasksResponseSchema, type Task, TaskState } from "@nexus/proto/orchestrator";
import type { CommandArguments, CommandContext, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showEnum, showTime, writeJson, writeTable } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { parseLimit } from "./numbers.ts";
import { readPages } from "./pages.ts";
import { parseCreated, showSpan } from "./times.ts";

const LIMIT_DEFAULT = 50;

/** Finds tasks across jobs. */
export const tasksListCommand: CommandSpec = {
  usage: "tasks list",
  about: "Find tasks across jobs, newest first: who ran what, when and for how long",
  example: "nexus tasks list --state failed --since 24h --capability text.summarise",
  flags: [
    { flags: "--state <state>", about: "only tasks in this state", many: true },
    {
      flags: "--since <time>",
      about: "only tasks submitted then or later, e.g. 90m or 2026-11-26",
    },
    { flags: "--until <time>", about: "only tasks submitted before then" },
    { flags: "--capability <name>", about: "only tasks of this capability" },
    { flags: "--agent <id>", about: "only tasks that this agent has or had" },
    { flags: "--reason <word>", about: "only tasks that failed for this reason" },
    { flags: "--label <key=value>", about: "only tasks of jobs with this label", many: true },
    { flags: "--limit <n>", about: "how many at most, 1 to 1000", default: String(LIMIT_DEFAULT) },
  ],
  run: list,
};

async function list(ctx: CommandContext, args: CommandArguments): Promise<number> {
  const limit = parseLimit(args.text("limit")) || LIMIT_DEFAULT;
  const filter = {
    states: args.texts("state").map(parseState),
    capability: args.text("capability") ?? "",
    agentId: args.text("agent") ?? "",
    failureReason: args.text("reason") ?? "",
    jobLabels: args.pairs("label"),
    ...parseCreated(args),
  };
  const { jobs } = ctx.client();
  const { items: tasks, page } = await readPages(limit, async (page) => {
    const response = await jobs.searchTasks({ ...filter, page });
    return { items: response.tasks, page: response.page };
  });
  const response = create(SearchTasksResponseSchema, { tasks, page });
  if (ctx.format === "json") writeJson(ctx, SearchTasksResponseSchema, response);
  else if (ctx.format === "name") for (const { taskId } of tasks) writeLine(ctx, taskId);
  else writeTable(ctx, HEAD, tasks.map(toRow));
  return EXIT.ok;
}

const HEAD = [
  "task",
  "state",
  "capability",
  "agent",
  "attempts",
  "leased",
  "took",
  "failure",
  "id",
];

function toRow(task: Task): string[] {
  return [
    task.spec?.key ?? "",
    showEnum(TaskState, task.state),
    task.spec?.capability ?? "",
    task.agentId || "-",
    String(task.attempts),
    showTime(task.leaseTime),
    showSpan(task.leaseTime, task.endTime),
    task.failure?.reason ?? "-",
    task.taskId,
  ];
}

function parseState(text: string): TaskState {
  const entry = Object.entries(TaskState).find(([name]) => name.toLowerCase() === text);
  if (entry === undefined || entry[1] === TaskState.UNSPECIFIED) {
    throw usageError(`"${text}" is no state of a task.`);
  }
  return entry[1] as TaskState;
}
