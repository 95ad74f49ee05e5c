/** How many messages a second a peer carries: the load that our own agents get, in processes of their own. */
import { withDeadline } from "@nexus/shared";
import { forkWorker, type Worker } from "../bed/worker.ts";
import { type Flow, measureFlow } from "../load/flow.ts";
import type { MessageLatency, MessageLoad } from "../load/messages.ts";
import type { MessagePeerCommands } from "./message-commands.ts";

const CLOSE_TIMEOUT_MS = 10_000;

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
  /** Has the first sender send at this rate too, after that. */
  readonly steadyPerSecond: number | undefined;
  /** Has every process write a CPU profile into this folder. */
  readonly profileDir: string | undefined;
}

/** What was seen of a peer. */
export interface MeasuredPeer {
  readonly flow: Flow;
  readonly steady: MessageLatency | undefined;
}

/** Starts a peer's processes, has them send and receive, and ends them. */
export async function measureMessagePeer(options: MessagePeerOptions): Promise<MeasuredPeer> {
  const { program, shape, load, steadyPerSecond: perSecond, profileDir } = options;
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
    const steady =
      perSecond === undefined
        ? undefined
        : await senders[0]?.call("sendSteadily", { ...load, perSecond });
    return { flow, steady };
  } finally {
    await closeAll([...receivers, ...senders.toReversed()]);
  }
}

/** Receivers first: the one who made the stream removes it, also after a failure, since the server may not be ours. */
async function closeAll(workers: readonly Worker<MessagePeerCommands>[]): Promise<void> {
  for (const worker of workers) {
    // What cannot be closed in time is stopped all the same.
    await withDeadline(worker.call("close", null), CLOSE_TIMEOUT_MS).catch(() => undefined);
  }
  await Promise.all(workers.map((worker) => worker.stop()));
}
