import type { Payload } from "@nexus/proto/common";
import {
  DeliveryClass,
  DeliveryOutcome,
  ListRoutesResponseSchema,
  SendMessageResponseSchema,
  TailTopicResponseSchema,
  type TopicMessage,
} from "@nexus/proto/mesh";
import { fromPayload, toPayload } from "@nexus/sdk";
import type { CommandArguments, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showEnum, showTime, writeJson, writeTable } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { parseLimit } from "./numbers.ts";

/** Shows where agents can be reached. */
export const meshRoutesCommand: CommandSpec = {
  usage: "mesh routes",
  about: "List the agents that have a session, and what waits for them",
  example: "nexus mesh routes --limit 20",
  flags: [{ flags: "--limit <n>", about: "how many at most, 1 to 1000", default: "100" }],
  run: async (ctx, args) => {
    const response = await ctx.client().messaging.listRoutes({
      page: { pageSize: parseLimit(args.text("limit")) },
    });
    if (ctx.format === "json") writeJson(ctx, ListRoutesResponseSchema, response);
    else if (ctx.format === "name") {
      for (const { agentId } of response.routes) writeLine(ctx, agentId);
    } else {
      const rows = response.routes.map((route) => [
        route.agentId,
        route.routerId,
        route.epoch.toString(),
        route.attached ? "yes" : "no",
        String(route.credit),
        String(route.waiting),
        String(route.mail),
        route.subscriptions.join(", ") || "-",
      ]);
      const head = ["agent", "router", "epoch", "attached", "credit", "waiting", "mail", "topics"];
      writeTable(ctx, head, rows);
    }
    return EXIT.ok;
  },
};

/** Sends a message. */
export const meshSendCommand: CommandSpec = {
  usage: "mesh send <body>",
  about: "Send a message to an agent, a capability, a topic or everyone",
  example: `nexus mesh send '{"hello":1}' --topic greetings.first --durable`,
  flags: [
    { flags: "--to <agent>", about: "to this agent" },
    { flags: "--capability <name>", about: "to any one agent that can do this" },
    { flags: "--topic <topic>", about: "to everyone who subscribed" },
    { flags: "--everyone", about: "to every agent of the namespace" },
    { flags: "--subject <word>", about: "what kind of message" },
    { flags: "--durable", about: "keep it until it is handled" },
    { flags: "--message-id <id>", about: "makes a repeated durable message the same one" },
  ],
  run: async (ctx, args) => {
    const response = await ctx.client().messaging.sendMessage({
      ...toAddress(args),
      subject: args.text("subject") ?? "",
      payload: toPayload(parseBody(args.at(0))),
      deliveryClass: args.isSet("durable") ? DeliveryClass.DURABLE : DeliveryClass.EPHEMERAL,
      messageId: args.text("messageId") ?? "",
    });
    const { outcome } = response;
    if (ctx.format === "json" || outcome === undefined) {
      writeJson(ctx, SendMessageResponseSchema, response);
    } else {
      const parts = [
        showEnum(DeliveryOutcome, outcome.outcome),
        outcome.reason,
        outcome.message,
        outcome.receivers > 0 ? `${outcome.receivers} receivers` : "",
        outcome.position > 0n ? `position ${outcome.position}` : "",
        outcome.duplicate ? "stored before" : "",
      ];
      writeLine(ctx, parts.filter((part) => part !== "").join(", "));
    }
    const { DELIVERED, QUEUED } = DeliveryOutcome;
    const isThrough = outcome?.outcome === DELIVERED || outcome?.outcome === QUEUED;
    return isThrough ? EXIT.ok : EXIT.awaitedFailed;
  },
};

/** Shows messages to topics as they are published. */
export const meshTailCommand: CommandSpec = {
  usage: "mesh tail [pattern]",
  about: "Show messages to topics from now on, until Ctrl-C",
  example: "nexus mesh tail 'orders.>'",
  run: async (ctx, args) => {
    const pattern = args.at(0) === "" ? ">" : args.at(0);
    const stream = ctx.client().messaging.tailTopic({ pattern }, { signal: ctx.signal });
    try {
      for await (const response of stream) {
        if (ctx.format === "json" && response.messages.length > 0) {
          writeJson(ctx, TailTopicResponseSchema, response);
          continue;
        }
        for (const message of response.messages) {
          writeLine(ctx, ctx.format === "name" ? message.topic : describe(message));
        }
        if (response.missed > 0n) writeLine(ctx, `... ${response.missed} missed`);
      }
    } catch (error) {
      if (!ctx.signal.aborted) throw error;
    }
    return EXIT.ok;
  },
};

function describe(message: TopicMessage): string {
  const { topic, subject, fromPrincipalId, payload, acceptTime } = message;
  const about = subject === "" ? topic : `${topic} (${subject})`;
  return `${showTime(acceptTime)}  ${about}  ${fromPrincipalId}  ${showBody(payload)}`;
}

/** A body as a person reads it. */
export function showBody(payload: Payload | undefined): string {
  const body = fromPayload(payload);
  if (body instanceof Uint8Array) return `${body.byteLength} bytes`;
  return typeof body === "string" ? body : JSON.stringify(body);
}

/** JSON where it is JSON, else the text itself. */
export function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function toAddress(args: CommandArguments) {
  const to = args.text("to");
  const capability = args.text("capability");
  const topic = args.text("topic");
  const everyone = args.isSet("everyone");
  const given = [to, capability, topic].filter((one) => one !== undefined).length;
  if (given + (everyone ? 1 : 0) !== 1) {
    throw usageError("Give one of --to, --capability, --topic and --everyone.");
  }
  return {
    toAgentId: to ?? "",
    toCapability: capability ?? "",
    toTopic: topic ?? "",
    broadcast: everyone,
  };
}
