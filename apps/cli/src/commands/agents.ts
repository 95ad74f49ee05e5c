import { randomUUID } from "node:crypto";
import {
  type Agent,
  AgentState,
  DiscoverAgentsResponseSchema,
  GetAgentResponseSchema,
  ListAgentsResponseSchema,
} from "@nexus/proto/registry";
import { NexusError } from "@nexus/shared";
import type { CommandContext, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showDuration, showEnum, showTime, writeJson, writeTable } from "../show.ts";
import { parseLimit } from "./numbers.ts";

/** One page of the mesh's list. */
const ROUTES_MAX = 1_000;

/** Lists agents. */
export const agentsListCommand: CommandSpec = {
  usage: "agents list",
  about: "List registered agents",
  example: "nexus agents list --capability text.analyse",
  flags: [
    { flags: "--capability <name>", about: "only agents with this capability" },
    { flags: "--label <key=value>", about: "only agents with this label", many: true },
    { flags: "--limit <n>", about: "how many at most, 1 to 1000", default: "100" },
  ],
  run: async (ctx, args) => {
    const response = await ctx.client().registry.listAgents({
      capability: args.text("capability") ?? "",
      labels: args.pairs("label"),
      page: { pageSize: parseLimit(args.text("limit")) },
    });
    if (ctx.format === "json") writeJson(ctx, ListAgentsResponseSchema, response);
    else if (ctx.format === "name") {
      for (const { agentId } of response.agents) writeLine(ctx, agentId);
    } else {
      const detached = await detachedOf(ctx, response.agents);
      const rows = response.agents.map((agent) => agentRow(agent, detached));
      writeTable(ctx, AGENT_HEAD, rows);
    }
    return EXIT.ok;
  },
};

/** Of the agents that take nothing new those whose stream broke: they are not shut down, they come back. The registry's word for
 * both is the same, so the mesh is asked; a caller that it does not tell sees the registry's word. */
async function detachedOf(
  ctx: CommandContext,
  agents: readonly Agent[],
): Promise<ReadonlySet<string>> {
  if (!agents.some(({ state }) => state === AgentState.DRAINING)) return new Set();
  try {
    const { routes } = await ctx.client().messaging.listRoutes({ page: { pageSize: ROUTES_MAX } });
    return new Set(routes.filter(({ attached }) => !attached).map(({ agentId }) => agentId));
  } catch (error) {
    if (error instanceof NexusError) return new Set();
    throw error;
  }
}

/** Shows one agent. */
export const agentsGetCommand: CommandSpec = {
  usage: "agents get <agent>",
  about: "Show one agent with its capabilities and reputation",
  example: "nexus agents get analyser-1",
  run: async (ctx, args) => {
    const response = await ctx.client().registry.getAgent({ agentId: args.at(0) });
    const { agent } = response;
    if (ctx.format === "json" || agent === undefined) {
      writeJson(ctx, GetAgentResponseSchema, response);
      return EXIT.ok;
    }
    writeTable(ctx, AGENT_HEAD, [agentRow(agent, await detachedOf(ctx, [agent]))]);
    writeLine(ctx, "");
    const rows = agent.reputations.map((one) => [
      one.capability,
      one.score.toFixed(3),
      one.lowerBound.toFixed(3),
      `${one.succeeded}/${one.failed}`,
      showDuration(one.meanLatency),
      one.lastCause || "-",
    ]);
    writeTable(
      ctx,
      ["capability", "score", "lower bound", "ok/failed", "latency", "last cause"],
      rows,
    );
    return EXIT.ok;
  },
};

/** Takes an agent out of the registry. */
export const agentsRemoveCommand: CommandSpec = {
  usage: "agents remove <agent>",
  about: "Forget an agent and its reputation; one that still runs gets no new work",
  example: "nexus agents remove analyser-1",
  run: async (ctx, args) => {
    const agentId = args.at(0);
    const { registry } = ctx.client();
    // The call is idempotent: of a misspelt name it would say that it is removed.
    await registry.getAgent({ agentId });
    await registry.deregisterAgent({ requestId: randomUUID(), agentId });
    if (ctx.format === "json") writeLine(ctx, JSON.stringify({ agentId }));
    else writeLine(ctx, ctx.format === "name" ? agentId : `Removed ${agentId}.`);
    return EXIT.ok;
  },
};

/** Finds agents for a capability. */
export const agentsDiscoverCommand: CommandSpec = {
  usage: "agents discover [capability]",
  about: "Find agents that can do something, best first",
  example: "nexus agents discover text.analyse --version-range ^1.0.0 --explain",
  flags: [
    { flags: "--version-range <range>", about: "semver range of the capability" },
    { flags: "--label <key=value>", about: "label the agent must carry", many: true },
    { flags: "--text <words>", about: "words to look for" },
    { flags: "--limit <n>", about: "how many at most, 1 to 1000", default: "20" },
    { flags: "--explain", about: "also say who was not chosen, and why" },
  ],
  run: async (ctx, args) => {
    const response = await ctx.client().registry.discoverAgents({
      capability: args.at(0),
      versionRange: args.text("versionRange") ?? "",
      requiredLabels: args.pairs("label"),
      text: args.text("text") ?? "",
      limit: parseLimit(args.text("limit")),
      explain: args.isSet("explain"),
    });
    if (ctx.format === "json") {
      writeJson(ctx, DiscoverAgentsResponseSchema, response);
    } else if (ctx.format === "name") {
      for (const { agent } of response.candidates) writeLine(ctx, agent?.agentId ?? "");
    } else {
      const rows = response.candidates.map(({ agent, capability, score, factors }) => [
        agent?.agentId ?? "",
        capability === undefined ? "-" : `${capability.name}@${capability.version}`,
        score.toFixed(3),
        Object.entries(factors)
          .map(([name, value]) => `${name} ${value.toFixed(2)}`)
          .join(", "),
      ]);
      writeTable(ctx, ["agent", "capability", "score", "factors"], rows);
      const others = response.rejections.map((one) => `not ${one.agentId}: ${one.message}`);
      if (others.length > 0) writeLine(ctx, others.join("\n"));
    }
    return EXIT.ok;
  },
};

const AGENT_HEAD = ["agent", "state", "slots", "capabilities", "labels", "last seen"];

function agentRow(agent: Agent, detached: ReadonlySet<string>): string[] {
  const labels = Object.entries(agent.labels).map(([key, value]) => `${key}=${value}`);
  return [
    agent.agentId,
    agent.state === AgentState.DRAINING && detached.has(agent.agentId)
      ? "reconnecting"
      : showEnum(AgentState, agent.state),
    `${agent.busySlots}/${agent.slots}`,
    agent.capabilities.map(({ name, version }) => `${name}@${version}`).join(", "),
    labels.join(", ") || "-",
    showTime(agent.lastSeenTime),
  ];
}
