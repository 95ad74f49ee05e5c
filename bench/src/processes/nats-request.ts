/** Core NATS as a process of its own: one that requests, or one that answers with nothing. */
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { postSaturated, postSteadily } from "../load/messages.ts";
import type { MessagePeerCommands } from "../peers/message-commands.ts";
import { NATS_REQUEST } from "../peers/message-settings.ts";
import { natsOptions } from "../peers/nats-options.ts";
import { serveCommands } from "./command-channel.ts";

let connection: NatsConnection | undefined;
let subject = "";
let taken = 0;

async function request(body: string): Promise<void> {
  await connection?.request(subject, JSON.stringify(body), NATS_REQUEST);
}

serveCommands<MessagePeerCommands>({
  prepare: async () => undefined,
  open: async ({ url, name }) => {
    connection = await connect(natsOptions(url));
    subject = name;
  },
  receive: async ({ url, name, group }) => {
    connection = await connect(natsOptions(url));
    connection.subscribe(name, {
      queue: group,
      callback: (error, message) => {
        if (error !== null) return;
        message.json();
        taken += 1;
        message.respond();
      },
    });
    // The server knows of the subscription when this comes back.
    await connection.flush();
  },
  takenIn: async () => taken,
  sendSaturated: (load) => postSaturated(load, request),
  sendSteadily: (load) => postSteadily(load, request),
  close: async () => {
    await connection?.close();
  },
});
