/** How many messages a second a peer carries: the load that our own agents get, in processes of their own. */
import { forkWorker } from "../bed/worker.ts";
import { type Flow, measureFlow } from "../load/flow.ts";
import type { MessageLoad } from "../load/messages.ts";
import type { MessagePeerCommands } from "./message-commands.ts";

/** Who speaks to whom. */
export interface PeerShape {
  readonly about: string;
  readonly senders: number;
  /** The group of each receiver. */
  readonly receivers: readonly string[];
}

/** What to measure, and how. */
export interface MessagePeerOptions {
  /** The program of src/processes. */
  readonly program: string;
  readonly shape: PeerShape;
  readonly place: { readonly url: string; readonly name: string };
  readonly load: MessageLoad & { readonly inFlight: number };
  /** Has every process write a CPU profile into this folder. */
  readonly profileDir: string | undefined;
}

/** Starts a peer's processes, has them send and receive, and ends them. */
export async function measureMessagePeer(options: MessagePeerOptions): Promise<Flow> {
  const { program, shape, load, profileDir } = options;
  const place = { ...options.place, groups: [...new Set(shape.receivers)] };
  const fork = (role: string) =>
    forkWorker<MessagePeerCommands>(program, { name: `${program}-${role}`, profileDir });
  const senders = Array.from({ length: shape.senders }, (_, index) => fork(`sender-${index + 1}`));
  const receivers = shape.receivers.map((_, index) => fork(`receiver-${index + 1}`));
  try {
    await senders[0]?.call("prepare", place);
    const takers = receivers.map((receiver, index) =>
      receiver.call("receive", {
        ...place,
        group: shape.receivers[index] ?? "",
        consumer: `receiver-${index + 1}`,
      }),
    );
    await Promise.all([...takers, ...senders.map((sender) => sender.call("open", place))]);
    const flow = await measureFlow(load, {
      senders: senders.map((sender) => () => sender.call("sendSaturated", load)),
      takers: receivers.map((receiver) => () => receiver.call("takenIn", null)),
    });
    // Receivers first: the one who made the stream removes it.
    for (const one of [...receivers, ...senders.toReversed()]) await one.call("close", null);
    return flow;
  } finally {
    await Promise.all([...senders, ...receivers].map((one) => one.stop()));
  }
}
