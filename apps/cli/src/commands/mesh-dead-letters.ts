import { randomUUID } from "node:crypto";
import {
  type DeadMessage,
  GetDeadMessageResponseSchema,
  ListDeadMessagesResponseSchema,
  PurgeDeadMessagesResponseSchema,
  RedeliverDeadMessagesResponseSchema,
} from "@nexus/proto/mesh";
import type { CommandArguments, CommandContext, CommandSpec, FlagSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showTime, writeJson, writeTable } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { showBody } from "./mesh.ts";
import { parseLimit } from "./numbers.ts";

const FILTER_FLAGS: readonly FlagSpec[] = [
  { flags: "--to <agent>", about: "only those to this agent" },
  { flags: "--from <principal>", about: "only those from this principal" },
  { flags: "--reason <word>", about: "only those given up for this reason, e.g. ATTEMPTS" },
];
/** Deals with durable messages that were given up. */
export const meshDeadLettersCommand: CommandSpec = {
  usage: "mesh dead-letters [verb] [message]",
  about: "Deal with durable messages that were given up: list, get, redeliver or purge",
  example: "nexus mesh dead-letters redeliver --to reviewer-1",
  flags: [
    { flags: "--id <message>", about: "redeliver or purge this one", many: true },
    ...FILTER_FLAGS,
    { flags: "--all", about: "redeliver or purge every one" },
    { flags: "--redelivered", about: "list those too that were redelivered" },
    { flags: "--limit <n>", about: "how many to list at most, 1 to 1000", default: "50" },
    { flags: "--request-id <id>", about: "makes a repeated command the same one" },
  ],
  run: async (ctx, args) => {
    const verb = VERBS.get(args.at(0) === "" ? "list" : args.at(0));
    if (verb === undefined) throw usageError("The verb is one of list, get, redeliver and purge.");
    await verb(ctx, args);
    return EXIT.ok;
  },
};

type Verb = (ctx: CommandContext, args: CommandArguments) => Promise<void>;

const VERBS: ReadonlyMap<string, Verb> = new Map([
  ["list", list],
  ["get", get],
  ["redeliver", redeliver],
  ["purge", purge],
]);

async function list(ctx: CommandContext, args: CommandArguments): Promise<void> {
  const response = await ctx.client().deadMessages.listDeadMessages({
    filter: toFilter(args),
    includeRedelivered: args.isSet("redelivered"),
    page: { pageSize: parseLimit(args.text("limit")) },
  });
  if (ctx.format === "json") writeJson(ctx, ListDeadMessagesResponseSchema, response);
  else if (ctx.format === "name") {
    for (const { deadMessageId } of response.deadMessages) writeLine(ctx, deadMessageId);
  } else writeTable(ctx, HEAD, response.deadMessages.map(toRow));
}

async function get(ctx: CommandContext, args: CommandArguments): Promise<void> {
  const response = await ctx.client().deadMessages.getDeadMessage({ deadMessageId: args.at(1) });
  const { deadMessage } = response;
  if (ctx.format === "json" || deadMessage === undefined) {
    writeJson(ctx, GetDeadMessageResponseSchema, response);
    return;
  }
  writeTable(ctx, HEAD, [toRow(deadMessage)]);
  writeLine(ctx, `\n${deadMessage.message}\n${showBody(deadMessage.payload)}`);
}

async function redeliver(ctx: CommandContext, args: CommandArguments): Promise<void> {
  const requestId = args.text("requestId") ?? randomUUID();
  const request = { requestId, ...toChoice(args) };
  const response = await ctx.client().deadMessages.redeliverDeadMessages(request);
  if (ctx.format === "json") writeJson(ctx, RedeliverDeadMessagesResponseSchema, response);
  else for (const id of response.deadMessageIds) writeLine(ctx, id);
}

async function purge(ctx: CommandContext, args: CommandArguments): Promise<void> {
  const requestId = args.text("requestId") ?? randomUUID();
  const request = { requestId, ...toChoice(args) };
  const response = await ctx.client().deadMessages.purgeDeadMessages(request);
  if (ctx.format === "json") writeJson(ctx, PurgeDeadMessagesResponseSchema, response);
  else writeLine(ctx, String(response.purged));
}

const HEAD = ["message", "to", "from", "sender's id", "subject", "reason", "attempts", "given up"];

function toRow(dead: DeadMessage): string[] {
  return [
    dead.deadMessageId,
    dead.toAgentId,
    dead.fromPrincipalId,
    dead.messageId,
    dead.subject || "-",
    dead.reason,
    String(dead.attempts),
    showTime(dead.dieTime),
  ];
}

function toFilter(args: CommandArguments) {
  const toAgentId = args.text("to");
  const fromPrincipalId = args.text("from");
  const reason = args.text("reason");
  return {
    ...(toAgentId === undefined ? {} : { toAgentId }),
    ...(fromPrincipalId === undefined ? {} : { fromPrincipalId }),
    ...(reason === undefined ? {} : { reason }),
  };
}

/** A bare command would mean everything, so that has to be said. */
function toChoice(args: CommandArguments) {
  const deadMessageIds = [...args.texts("id")];
  const filter = toFilter(args);
  const filtered = Object.keys(filter).length > 0;
  const chosen = [deadMessageIds.length > 0, filtered, args.isSet("all")].filter(Boolean).length;
  if (chosen !== 1) throw usageError("Give one of --id, --all, or flags that filter.");
  return deadMessageIds.length > 0 ? { deadMessageIds } : { filter };
}
