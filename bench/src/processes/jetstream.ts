/** JetStream as a process of its own: one that publishes, each message until its acknowledgement, or one that consumes. */
import {
  AckPolicy,
  type ConsumerMessages,
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
} from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { postSaturated, postSteadily } from "../load/messages.ts";
import type { MessagePeerCommands } from "../peers/message-commands.ts";
import { JETSTREAM } from "../peers/message-settings.ts";
import { natsOptions } from "../peers/nats-options.ts";
import { serveCommands } from "./command-channel.ts";

let connection: NatsConnection | undefined;
let manager: JetStreamManager | undefined;
let client: JetStreamClient | undefined;
let messages: ConsumerMessages | undefined;
let made = "";
let subject = "";
let taken = 0;

async function open(url: string): Promise<NatsConnection> {
  connection ??= await connect(natsOptions(url));
  return connection;
}

async function publish(body: string): Promise<void> {
  if (client === undefined) throw new Error("the stream was not opened");
  await client.publish(subject, JSON.stringify(body));
}

serveCommands<MessagePeerCommands>({
  prepare: async ({ url, name, groups }) => {
    manager = await jetstreamManager(await open(url));
    // Acknowledged by all is removed, as with us.
    const retention = groups.length > 1 ? RetentionPolicy.Interest : RetentionPolicy.Workqueue;
    await manager.streams.add({ name, subjects: [name], retention, storage: StorageType.File });
    made = name;
    for (const durable_name of groups) {
      await manager.consumers.add(name, {
        durable_name,
        ack_policy: AckPolicy.Explicit,
        max_ack_pending: JETSTREAM.maxAckPending,
      });
    }
  },
  open: async ({ url, name }) => {
    client = jetstream(await open(url));
    subject = name;
  },
  receive: async ({ url, name, group }) => {
    const consumer = await jetstream(await open(url)).consumers.get(name, group);
    messages = await consumer.consume({
      max_messages: JETSTREAM.pullMessages,
      callback: (message) => {
        message.json();
        taken += 1;
        message.ack();
      },
    });
  },
  takenIn: async () => taken,
  sendSaturated: (load) => postSaturated(load, publish),
  sendSteadily: (load) => postSteadily(load, publish),
  close: async () => {
    await messages?.close();
    if (made !== "") await manager?.streams.delete(made);
    await connection?.close();
  },
});
