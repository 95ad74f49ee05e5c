import { readFileSync } from "node:fs";
import { createRpcChannel, type RpcChannel } from "@nexus/rpc/client";
import { NexusError } from "@nexus/shared";

/** How to reach a gateway that speaks TLS; `{}` trusts the authorities of the system. */
export interface GatewayTls {
  /** PEM file with the CA certificates that vouch for the gateway. Read for each new connection, so it may change. */
  readonly caFile?: string;
}

/** Streams on one connection: sessions of agents, watches. A gateway lets a connection have 1 000 (`NEXUS_GATEWAY_MAX_CONCURRENT_STREAMS`),
 * proxies in front of it some 128, and the calls are among them. */
export const STREAMS_PER_CONNECTION = 100;

interface SharedChannel {
  readonly channel: RpcChannel;
  users: number;
}

/** In plaintext, by gateway. */
const shared = new Map<string, SharedChannel>();

/** Opens a channel to a gateway. In plaintext all clients and agents of this process share its connections, with TLS each has its own; either
 * way streams get further ones before a connection has too many. Closing it cancels its streams. Errors: invalid/CA_FILE_UNREADABLE. */
export function openGatewayChannel(gateway: string, tls: GatewayTls | undefined): RpcChannel {
  if (tls === undefined) return lend(...share(gateway));
  const { caFile } = tls;
  // A path that is wrong now would otherwise only show as a gateway that cannot be reached.
  if (caFile !== undefined) readCa(caFile);
  const source = {
    get current() {
      return caFile === undefined ? {} : { ca: readCa(caFile) };
    },
    onChange: () => () => {},
  };
  const channel = createRpcChannel({
    address: gateway,
    streamsPerConnection: STREAMS_PER_CONNECTION,
    tls: { source },
  });
  return lend(channel, () => channel.close());
}

/** A share in the process's channel, and what gives it back; the channel is closed with the last of them. */
function share(gateway: string): [RpcChannel, () => void] {
  const open = shared.get(gateway) ?? {
    channel: createRpcChannel({
      address: gateway,
      streamsPerConnection: STREAMS_PER_CONNECTION,
    }),
    users: 0,
  };
  shared.set(gateway, open);
  open.users += 1;
  const giveBack = () => {
    open.users -= 1;
    if (open.users > 0) return;
    shared.delete(gateway);
    open.channel.close();
  };
  return [open.channel, giveBack];
}

/** The channel of one user, until that one closes it. */
function lend(channel: RpcChannel, giveBack: () => void): RpcChannel {
  const closing = new AbortController();
  const unlessClosed = () => {
    if (closing.signal.aborted) throw new Error("the channel is closed");
    return channel;
  };
  return {
    address: channel.address,
    closed: closing.signal,
    get transport() {
      return unlessClosed().transport;
    },
    placeStream: () => unlessClosed().placeStream(),
    close: () => {
      if (closing.signal.aborted) return;
      closing.abort();
      giveBack();
    },
  };
}

function readCa(caFile: string): Buffer {
  try {
    return readFileSync(caFile);
  } catch (cause) {
    throw new NexusError({
      kind: "invalid",
      reason: "CA_FILE_UNREADABLE",
      message: `The CA file ${caFile} cannot be read.`,
      cause,
    });
  }
}
