import { type ChannelOptions, Client } from "@grpc/grpc-js";
import {
  CLIENT_KEEPALIVE_MS,
  CLIENT_KEEPALIVE_TIMEOUT_MS,
  FLOW_WINDOW_BYTES,
  HANDSHAKE_MAX_MS,
  keepaliveOptions,
  MAX_MESSAGE_BYTES,
  RECONNECT_INITIAL_MS,
  RECONNECT_MAX_MS,
  RETRY_BUFFER_BYTES,
} from "../limits.ts";
import { clientCredentials } from "../tls/channel-credentials.ts";
import type { TlsOptions } from "../tls/material.ts";
import { quietTransport } from "../transport-log.ts";
import { type StreamPlace, StreamPlaces } from "./stream-places.ts";

/** What a channel needs. */
export interface RpcChannelOptions {
  /** `host:port`, or to spread calls: `dns:///name:port` over every address of the name, `ipv4:ip:port,ip:port` over these. */
  readonly address: string;
  readonly tls?: TlsOptions;
  readonly maxMessageBytes?: number;
  /** Connections to each address; calls and streams take them in turn. One carries many calls at once, but its flow control is
   * one window for all of them. @default 1 */
  readonly connections?: number;
  /** Streams that one connection carries: they fill one after the other, for more the channel opens further ones, and it shares none with
   * another channel. A server lets a connection have `MAX_CONCURRENT_STREAMS`, calls included, and what is beyond waits without a word.
   * @default no bound, and streams take the connections in turn */
  readonly streamsPerConnection?: number;
  /** How long a connection may be silent, with calls on it, before it is given up, milliseconds: it is pinged each half of that, and the answer has
   * the other half; so long may also pass until a new connection brings anything. @default both CLIENT_KEEPALIVE times, 20 s, and HANDSHAKE_MAX_MS */
  readonly silentMaxMs?: number;
  /** Ping also while no call is open; only for a process that lives by its stream, e.g. an agent. Default false. */
  readonly keepaliveWithoutCalls?: boolean;
}

/** Connections to one service, shared by all clients of it. Connects at the first call and reconnects on its own. */
export interface RpcChannel {
  readonly address: string;
  /** For this library only: the connections in turn. */
  readonly transport: Client;
  /** For this library only: a connection for one stream. */
  placeStream(): StreamPlace;
  /** Ends the streams that are open. */
  readonly closed?: AbortSignal;
  /** Lets nothing new begin, and ends the connections once what is under way is over. */
  close(): void;
}

const SERVICE_CONFIG = JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] });

/** Opens a channel. Nothing is dialled before the first call. */
export function createRpcChannel(options: RpcChannelOptions): RpcChannel {
  quietTransport();
  const maxMessageBytes = options.maxMessageBytes ?? MAX_MESSAGE_BYTES;
  const channelOptions: ChannelOptions = {
    "grpc.service_config": SERVICE_CONFIG,
    // Otherwise every resolution also asks DNS for TXT records.
    "grpc.service_config_disable_resolution": 1,
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": maxMessageBytes,
    "grpc-node.flow_control_window": FLOW_WINDOW_BYTES,
    ...keepaliveOptions(options.silentMaxMs, {
      afterMs: CLIENT_KEEPALIVE_MS,
      timeoutMs: CLIENT_KEEPALIVE_TIMEOUT_MS,
    }),
    "grpc.keepalive_permit_without_calls": options.keepaliveWithoutCalls === true ? 1 : 0,
    "grpc.initial_reconnect_backoff_ms": RECONNECT_INITIAL_MS,
    "grpc.max_reconnect_backoff_ms": RECONNECT_MAX_MS,
    // The transport repeats by itself only what never reached a server, e.g. when a connection ages at the wrong
    // moment; everything else is retry.ts. For that it buffers sent messages, and reports a write as done while
    // the buffer has room, so the default of 1 MiB would blind a stream to its reader, and slow it down:
    // retrying-call.ts copies the buffer at each message.
    "grpc.per_rpc_retry_buffer_size": RETRY_BUFFER_BYTES,
    "grpc.enable_channelz": 0,
    "grpc.enable_http_proxy": 0,
  };
  const { address, connections = 1, streamsPerConnection } = options;
  const { tls, silentMaxMs: handshakeMaxMs = HANDSHAKE_MAX_MS } = options;
  const credentials = clientCredentials({ tls, address, handshakeMaxMs });
  // Clients of one address would share their connections.
  const hasOwn = connections > 1 || streamsPerConnection !== undefined;
  const pooled = hasOwn ? { "grpc.use_local_subchannel_pool": 1 } : {};
  const open = () => new Client(address, credentials, { ...channelOptions, ...pooled });
  const transports = Array.from({ length: connections }, open);
  const places =
    streamsPerConnection === undefined
      ? undefined
      : new StreamPlaces(transports, { max: streamsPerConnection, open });
  let turn = 0;
  return {
    address,
    get transport() {
      if (places !== undefined) return places.emptiest;
      turn = (turn + 1) % transports.length;
      return transports[turn] as Client;
    },
    placeStream() {
      return places?.take() ?? { transport: this.transport, leave: () => undefined };
    },
    close: () => {
      places?.close();
      for (const transport of transports) transport.close();
    },
  };
}
