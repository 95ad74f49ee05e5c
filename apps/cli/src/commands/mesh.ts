import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Payload } from "@nexus/proto/common";
import {
  CallAgentResponseSchema,
  DeliveryClass,
  DeliveryOutcome,
  ListRoutesResponseSchema,
  SendMessageResponseSchema,
  type SendOutcome,
  type TailTopicResponse,
  TailTopicResponseSchema,
  type TopicMessage,
} from "@nexus/proto/mesh";
import { fromPayload, toPayload } from "@nexus/sdk";
import type { CommandArguments, CommandContext, CommandSpec, FlagSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeBytes, writeLine } from "../output.ts";
import { showEnum, showTime, writeJson, writeJsonLine, writeTable } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { followUntilInterrupted } from "./follow.ts";
import { parseLimit } from "./numbers.ts";
import { parseSpan } from "./times.ts";

const TO_AGENT_FLAG: FlagSpec = { flags: "--to <agent>", about: "to this agent" };
const TO_CAPABILITY_FLAG: FlagSpec = {
  flags: "--capability <name>",
  about: "to any one agent that can do this",
};
const SUBJECT_FLAG: FlagSpec = { flags: "--subject <word>", about: "what kind of message" };

type AddressFlag = "to" | "capability" | "topic" | "everyone";

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
    TO_AGENT_FLAG,
    TO_CAPABILITY_FLAG,
    { flags: "--topic <topic>", about: "to everyone who subscribed" },
    { flags: "--everyone", about: "to every agent of the namespace" },
    SUBJECT_FLAG,
    { flags: "--durable", about: "keep it until it is handled" },
    { flags: "--message-id <id>", about: "makes a repeated durable message the same one" },
    { flags: "--ttl <time>", about: "durable: how long it is kept, e.g. 12h; default 24h" },
    { flags: "--ack-wait <time>", about: "durable: how long its receiver may be silent, e.g. 90s" },
  ],
  run: async (ctx, args) => {
    const ttl = parseSpan("ttl", args.text("ttl"));
    const ackWait = parseSpan("ack-wait", args.text("ackWait"));
    const response = await ctx.client().messaging.sendMessage({
      ...toAddress(args, ["to", "capability", "topic", "everyone"]),
      subject: args.text("subject") ?? "",
      payload: toPayload(parseBody(args.at(0))),
      deliveryClass: args.isSet("durable") ? DeliveryClass.DURABLE : DeliveryClass.EPHEMERAL,
      messageId: args.text("messageId") ?? "",
      ...(ttl === undefined ? {} : { ttl }),
      ...(ackWait === undefined ? {} : { ackWait }),
    });
    const { outcome } = response;
    if (ctx.format === "json" || outcome === undefined) {
      writeJson(ctx, SendMessageResponseSchema, response);
    } else writeLine(ctx, describeOutcome(outcome));
    return exitCodeFor(outcome);
  },
};

/** Asks an agent. */
export const meshCallCommand: CommandSpec = {
  usage: "mesh call <body>",
  about: "Ask an agent or a capability, and print the reply; --timeout says how long to wait",
  example: `nexus mesh call '{"document":"report.md"}' --capability review.summarise --timeout 60`,
  flags: [TO_AGENT_FLAG, TO_CAPABILITY_FLAG, SUBJECT_FLAG],
  run: async (ctx, args) => {
    const { toAgentId, toCapability } = toAddress(args, ["to", "capability"]);
    const response = await ctx.client().messaging.callAgent({
      toAgentId,
      toCapability,
      subject: args.text("subject") ?? "",
      payload: toPayload(parseBody(args.at(0))),
    });
    const { outcome, reply } = response;
    if (ctx.format === "json" || outcome === undefined) {
      writeJson(ctx, CallAgentResponseSchema, response);
    } else if (outcome.outcome === DeliveryOutcome.DELIVERED) writeReply(ctx, reply);
    else ctx.terminal.stderr.write(`${describeOutcome(outcome)}\n`);
    return exitCodeFor(outcome);
  },
};

/** Bytes are written as they are, so that they can go into a file. */
function writeReply(ctx: CommandContext, reply: Payload | undefined): void {
  const body = fromPayload(reply);
  if (body instanceof Uint8Array) writeBytes(ctx, body);
  else writeLine(ctx, showBody(reply));
}

function describeOutcome(outcome: SendOutcome): string {
  const parts = [
    showEnum(DeliveryOutcome, outcome.outcome),
    outcome.reason,
    outcome.message,
    outcome.receivers > 0 ? `${outcome.receivers} receivers` : "",
    outcome.missed > 0 ? `${outcome.missed} missed` : "",
    outcome.position > 0n ? `position ${outcome.position}` : "",
    outcome.duplicate ? "stored before" : "",
    outcome.retryAfter === undefined ? "" : `try again in ${durationMs(outcome.retryAfter)} ms`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}

function exitCodeFor(outcome: SendOutcome | undefined): number {
  const { DELIVERED, QUEUED } = DeliveryOutcome;
  const isThrough = outcome?.outcome === DELIVERED || outcome?.outcome === QUEUED;
  return isThrough ? EXIT.ok : EXIT.awaitedFailed;
}

/** Shows messages to topics as they are published. */
export const meshTailCommand: CommandSpec = {
  usage: "mesh tail [pattern]",
  about: "Show messages to topics from now on, until Ctrl-C",
  example: "nexus mesh tail 'orders.>'",
  run: async (ctx, args) => {
    const pattern = args.at(0) === "" ? ">" : args.at(0);
    return followUntilInterrupted(ctx, {
      open: () => ctx.client().messaging.tailTopic({ pattern }, { signal: ctx.signal }),
      take: (response) => {
        writeTail(ctx, response);
        return undefined;
      },
      resumed: () => "messages may be missing",
    });
  },
};

function writeTail(ctx: CommandContext, response: TailTopicResponse): void {
  const isNews = response.messages.length > 0 || response.missed > 0n;
  if (ctx.format === "json") {
    if (isNews) writeJsonLine(ctx, TailTopicResponseSchema, response);
    return;
  }
  for (const message of response.messages) {
    writeLine(ctx, ctx.format === "name" ? message.topic : describe(message));
  }
  if (response.missed > 0n) writeLine(ctx, `... ${response.missed} missed`);
}

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

/** One address of those that a command takes, each by the flag that names it. */
function toAddress(args: CommandArguments, flags: readonly AddressFlag[]) {
  const given = flags.filter((flag) => args.text(flag) !== undefined || args.isSet(flag));
  if (given.length !== 1) {
    throw usageError(`Give one of ${flags.map((flag) => `--${flag}`).join(", ")}.`);
  }
  return {
    toAgentId: args.text("to") ?? "",
    toCapability: args.text("capability") ?? "",
    toTopic: args.text("topic") ?? "",
    broadcast: args.isSet("everyone"),
  };
}
