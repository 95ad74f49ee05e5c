import {
  GetJobPerformanceResponseSchema,
  type Latency,
  ListAgentPerformanceResponseSchema,
  ListCapabilityPerformanceResponseSchema,
  type Performance,
} from "@nexus/proto/insight";
import type { CommandSpec, FlagSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showDuration, writeJson, writeTable } from "../show.ts";
import { parseLimit } from "./numbers.ts";
import { parseSpan } from "./times.ts";

const WINDOW_FLAG: FlagSpec = {
  flags: "--window <time>",
  about: "how far to look back, 1s to 30d",
  default: "1h",
};
const CAPABILITY_FLAG: FlagSpec = {
  flags: "--capability <name>",
  about: "only attempts at this capability",
};
const LIMIT_FLAG: FlagSpec = {
  flags: "--limit <n>",
  about: "how many at most, 1 to 1000",
  default: "100",
};

/** Shows how agents do. */
export const performanceAgentsCommand: CommandSpec = {
  usage: "performance agents",
  about: "Show how each agent did: attempts, failures and their reasons, waits and run times",
  example: "nexus performance agents --window 24h --capability text.analyse",
  flags: [
    WINDOW_FLAG,
    CAPABILITY_FLAG,
    { flags: "--agent <id>", about: "only this agent" },
    LIMIT_FLAG,
  ],
  run: async (ctx, args) => {
    const window = parseSpan("window", args.text("window"));
    const response = await ctx.client().analytics.listAgentPerformance({
      ...(window === undefined ? {} : { window }),
      agentId: args.text("agent") ?? "",
      capability: args.text("capability") ?? "",
      page: { pageSize: parseLimit(args.text("limit")) },
    });
    if (ctx.format === "json") writeJson(ctx, ListAgentPerformanceResponseSchema, response);
    else if (ctx.format === "name") {
      for (const { agentId } of response.agents) writeLine(ctx, agentId);
    } else {
      const rows = response.agents.map((one) => [one.agentId, ...toCells(one.performance)]);
      writeTable(ctx, ["agent", ...HEAD], rows);
    }
    return EXIT.ok;
  },
};

/** Shows how capabilities do. */
export const performanceCapabilitiesCommand: CommandSpec = {
  usage: "performance capabilities",
  about: "Show how each capability did, over all agents that have it",
  example: "nexus performance capabilities --window 7d",
  flags: [WINDOW_FLAG, CAPABILITY_FLAG, LIMIT_FLAG],
  run: async (ctx, args) => {
    const window = parseSpan("window", args.text("window"));
    const response = await ctx.client().analytics.listCapabilityPerformance({
      ...(window === undefined ? {} : { window }),
      capability: args.text("capability") ?? "",
      page: { pageSize: parseLimit(args.text("limit")) },
    });
    if (ctx.format === "json") writeJson(ctx, ListCapabilityPerformanceResponseSchema, response);
    else if (ctx.format === "name") {
      for (const { capability } of response.capabilities) writeLine(ctx, capability);
    } else {
      const rows = response.capabilities.map((one) => [
        one.capability,
        ...toCells(one.performance),
      ]);
      writeTable(ctx, ["capability", ...HEAD], rows);
    }
    return EXIT.ok;
  },
};

/** Shows how a job did. */
export const performanceJobCommand: CommandSpec = {
  usage: "performance job <job>",
  about: "Show how a job did: all of it, and by agent",
  example: "nexus performance job job_0192f0c1",
  run: async (ctx, args) => {
    const response = await ctx.client().analytics.getJobPerformance({ jobId: args.at(0) });
    if (ctx.format === "json") writeJson(ctx, GetJobPerformanceResponseSchema, response);
    else {
      const rows = response.agents.map((one) => [one.agentId, ...toCells(one.performance)]);
      writeTable(ctx, ["agent", ...HEAD], [["all", ...toCells(response.total)], ...rows]);
    }
    return EXIT.ok;
  },
};

const HEAD = ["attempts", "success", "wait p50", "p95", "run p50", "p95", "p99", "failures"];

function toCells(performance: Performance | undefined): string[] {
  if (performance === undefined) return HEAD.map(() => "-");
  const { attempts, successRate, queueTime, runTime, failuresByReason } = performance;
  const failures = Object.entries(failuresByReason)
    .sort(([, a], [, b]) => Number(b - a))
    .map(([reason, count]) => `${count} ${reason}`);
  return [
    attempts.toString(),
    attempts === 0n ? "-" : `${(successRate * 100).toFixed(1)} %`,
    ...quantiles(queueTime).slice(0, 2),
    ...quantiles(runTime),
    failures.join(", ") || "-",
  ];
}

function quantiles(latency: Latency | undefined): string[] {
  return [latency?.p50, latency?.p95, latency?.p99].map(showDuration);
}
