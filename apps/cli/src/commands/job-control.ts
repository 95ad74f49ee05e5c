import { randomUUID } from "node:crypto";
import {
  type Job,
  PauseJobResponseSchema,
  ResumeJobResponseSchema,
} from "@nexus/proto/orchestrator";
import type { CommandContext, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeJson, writeLine, writeTable } from "../output.ts";
import { JOB_HEAD, jobRow } from "./job-table.ts";

/** Pauses a job. */
export const jobsPauseCommand: CommandSpec = {
  usage: "jobs pause <job>",
  about: "Hand out nothing more of a job; what runs goes on",
  example: "nexus jobs pause job_0192f0c1",
  run: async (ctx, args) => {
    const request = { requestId: randomUUID(), jobId: args.at(0) };
    const response = await ctx.client().jobs.pauseJob(request);
    if (ctx.format === "json") writeJson(PauseJobResponseSchema, response);
    else show(ctx, response.job);
    return EXIT.ok;
  },
};

/** Lets a paused job go on. */
export const jobsResumeCommand: CommandSpec = {
  usage: "jobs resume <job>",
  about: "Let a paused job go on where it was",
  example: "nexus jobs resume job_0192f0c1",
  run: async (ctx, args) => {
    const request = { requestId: randomUUID(), jobId: args.at(0) };
    const response = await ctx.client().jobs.resumeJob(request);
    if (ctx.format === "json") writeJson(ResumeJobResponseSchema, response);
    else show(ctx, response.job);
    return EXIT.ok;
  },
};

function show(ctx: CommandContext, job: Job | undefined): void {
  if (job === undefined) return;
  if (ctx.format === "name") writeLine(job.jobId);
  else writeTable(JOB_HEAD, [jobRow(job)]);
}
