import { readFileSync } from "node:fs";
import { createRpcChannel, type RpcChannel, type RpcChannelOptions } from "@nexus/rpc/client";
import { NexusError } from "@nexus/shared";
import { Seats } from "./seats.ts";

/** How to reach a gateway that speaks TLS; `{}` trusts the authorities of the system. */
export interface GatewayTls {
  /** PEM file with the CA certificates that vouch for the gateway. Read for each new connection, so it may change. */
  readonly caFile?: string;
}

/** Watches and other streams of one client that share a connection, of the 1 000 that a gateway lets it have. */
const STREAMS_PER_CONNECTION = 500;

/** Opens a channel for a client; without `tls` in plaintext. Errors: invalid/CA_FILE_UNREADABLE. */
export function openClientChannel(gateway: string, tls: GatewayTls | undefined): RpcChannel {
  return openChannel(tls, { address: gateway, streamsPerConnection: STREAMS_PER_CONNECTION });
}

function openChannel(tls: GatewayTls | undefined, options: RpcChannelOptions): RpcChannel {
  if (tls === undefined) return createRpcChannel(options);
  const { caFile } = tls;
  // A path that is wrong now would otherwise only show as a gateway that cannot be reached.
  if (caFile !== undefined) readCa(caFile);
  const source = {
    get current() {
      return caFile === undefined ? {} : { ca: readCa(caFile) };
    },
    onChange: () => () => {},
  };
  return createRpcChannel({ ...options, tls: { source } });
}

/** Of all agents of this process. */
const seats = new Seats();

/** Opens a channel for one agent. In plaintext agents of one process share connections, but no more than a gateway lets a connection have
 * streams: what is beyond would wait, and say nothing. With TLS each has its own. Errors: invalid/CA_FILE_UNREADABLE. */
export function openAgentChannel(gateway: string, tls: GatewayTls | undefined): RpcChannel {
  if (tls !== undefined) return openChannel(tls, { address: gateway });
  const seat = seats.take(gateway);
  const channel = createRpcChannel({ address: gateway, share: `agents-${seat.connection}` });
  return {
    address: channel.address,
    get transport() {
      return channel.transport;
    },
    placeStream: () => channel.placeStream(),
    close: () => {
      seat.leave();
      channel.close();
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
