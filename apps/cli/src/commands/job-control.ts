import { randomUUID } from "node:crypto";
import {
  type Job,
  PauseJobResponseSchema,
  ReplayJobResponseSchema,
  ResumeJobResponseSchema,
  RetryJobResponseSchema,
} from "@nexus/proto/orchestrator";
import type { CommandContext, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { writeJson, writeTable } from "../show.ts";
import { JOB_HEAD, jobRow } from "./job-table.ts";

/** Pauses a job. */
export const jobsPauseCommand: CommandSpec = {
  usage: "jobs pause <job>",
  about: "Hand out nothing more of a job; what runs goes on",
  example: "nexus jobs pause job_0192f0c1",
  run: async (ctx, args) => {
    const request = { requestId: randomUUID(), jobId: args.at(0) };
    const response = await ctx.client().jobs.pauseJob(request);
    if (ctx.format === "json") writeJson(ctx, PauseJobResponseSchema, response);
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
    if (ctx.format === "json") writeJson(ctx, ResumeJobResponseSchema, response);
    else show(ctx, response.job);
    return EXIT.ok;
  },
};

/** Runs what failed again. */
export const jobsRetryCommand: CommandSpec = {
  usage: "jobs retry <job>",
  about: "Run what did not succeed again, as a new job that keeps the rest",
  example: "nexus jobs retry job_0192f0c1",
  run: async (ctx, args) => {
    const request = { requestId: randomUUID(), jobId: args.at(0) };
    const response = await ctx.client().jobs.retryJob(request);
    if (ctx.format === "json") writeJson(ctx, RetryJobResponseSchema, response);
    else show(ctx, response.job);
    return EXIT.ok;
  },
};

/** Runs a job again from a task on. */
export const jobsReplayCommand: CommandSpec = {
  usage: "jobs replay <job> <task>",
  about: "Run a task and all that depends on it again, as a new job",
  example: "nexus jobs replay job_0192f0c1 summarise",
  run: async (ctx, args) => {
    const request = { requestId: randomUUID(), jobId: args.at(0), taskKey: args.at(1) };
    const response = await ctx.client().jobs.replayJob(request);
    if (ctx.format === "json") writeJson(ctx, ReplayJobResponseSchema, response);
    else show(ctx, response.job);
    return EXIT.ok;
  },
};

function show(ctx: CommandContext, job: Job | undefined): void {
  if (job === undefined) return;
  if (ctx.format === "name") writeLine(ctx, job.jobId);
  else writeTable(ctx, JOB_HEAD, [jobRow(job)]);
}
