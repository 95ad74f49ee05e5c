/** Redis Streams as a process of their own: one that adds, or one that reads for a group and acknowledges. */
import { Redis } from "ioredis";
import { postSaturated, postSteadily } from "../load/messages.ts";
import type { MessagePeerCommands, MessageTaker } from "../peers/message-commands.ts";
import { REDIS_STREAMS } from "../peers/message-settings.ts";
import { serveCommands } from "./command-channel.ts";

type Entry = readonly [id: string, fields: readonly string[]];

let connection: Redis | undefined;
let reader: Redis | undefined;
let made = "";
let stream = "";
let taken = 0;
let reading: Promise<void> | undefined;
let closing = false;

/** What is said in one turn of the event loop leaves together. */
function open(url: string): Redis {
  connection ??= new Redis(url, { enableAutoPipelining: true });
  return connection;
}

async function add(body: string): Promise<void> {
  const { trimAt } = REDIS_STREAMS;
  await connection?.xadd(stream, "MAXLEN", "~", trimAt, "*", "body", JSON.stringify(body));
}

async function readOn(redis: Redis, { url, name, group, consumer }: MessageTaker): Promise<void> {
  const { readMax, blockMs } = REDIS_STREAMS;
  const acknowledging = open(url);
  while (!closing) {
    const got = (await redis.xreadgroup(
      ...(["GROUP", group, consumer, "COUNT", readMax, "BLOCK", blockMs] as const),
      ...(["STREAMS", name, ">"] as const),
    )) as readonly (readonly [string, readonly Entry[]])[] | null;
    const entries = got?.[0]?.[1] ?? [];
    if (entries.length === 0) continue;
    for (const [, fields] of entries) JSON.parse(fields[1] ?? "null");
    taken += entries.length;
    await acknowledging.xack(name, group, ...entries.map(([id]) => id));
  }
}

serveCommands<MessagePeerCommands>({
  prepare: async ({ url, name, groups }) => {
    for (const group of groups) await open(url).xgroup("CREATE", name, group, "$", "MKSTREAM");
    made = name;
  },
  open: async ({ url, name }) => {
    open(url);
    stream = name;
  },
  receive: async (taker) => {
    reader = new Redis(taker.url, { maxRetriesPerRequest: null });
    reading = readOn(reader, taker);
  },
  takenIn: async () => taken,
  sendSaturated: (load) => postSaturated(load, add),
  sendSteadily: (load) => postSteadily(load, add),
  close: async () => {
    closing = true;
    await reading;
    if (made !== "") await connection?.del(made);
    connection?.disconnect();
    reader?.disconnect();
  },
});
