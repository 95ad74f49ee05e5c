/** The replicas of a service, one by one: its own channel asks them in turn, and so hides one that is gone. */
import { lookup } from "node:dns/promises";
import type { RpcChannel } from "@nexus/rpc";

/** Most replicas of one service that are asked. */
const REPLICAS_MAX = 64;
/** A name server that is silent must not hold up the answer about all others. */
const LOOKUP_MS = 1_000;
const DNS_PREFIX = "dns:///";
const LIST_PREFIX = "ipv4:";

/** What Replicas needs. */
export interface ReplicasOptions {
  /** The service's own: `host:port`, `dns:///host:port`, `ipv4:ip:port,ip:port`. */
  readonly channel: RpcChannel;
  readonly open: (address: string) => RpcChannel;
}

/** Owns a channel for each replica of one service, from the first question on. */
export class Replicas {
  readonly #options: ReplicasOptions;
  readonly #channels = new Map<string, RpcChannel>();

  constructor(options: ReplicasOptions) {
    this.#options = options;
  }

  /** The channels of those that there are now; the service's own where it has one address, or none can be found. */
  async channels(): Promise<readonly RpcChannel[]> {
    const addresses = (await this.#addresses()).slice(0, REPLICAS_MAX);
    const wanted = new Set(addresses);
    for (const [address, channel] of this.#channels) {
      if (wanted.has(address)) continue;
      this.#channels.delete(address);
      channel.close();
    }
    if (wanted.size < 2) return [this.#options.channel];
    return [...wanted].map((address) => {
      const channel = this.#channels.get(address) ?? this.#options.open(address);
      this.#channels.set(address, channel);
      return channel;
    });
  }

  /** Ends all connections. */
  close(): void {
    for (const channel of this.#channels.values()) channel.close();
    this.#channels.clear();
  }

  async #addresses(): Promise<readonly string[]> {
    const { address } = this.#options.channel;
    if (address.startsWith(LIST_PREFIX)) return address.slice(LIST_PREFIX.length).split(",");
    if (!address.startsWith(DNS_PREFIX)) return [address];
    const { hostname, port } = new URL(`grpc://${address.slice(DNS_PREFIX.length)}`);
    const late = new Promise<[]>((resolve) => {
      setTimeout(() => resolve([]), LOOKUP_MS).unref();
    });
    const found = await Promise.race([lookup(hostname, { all: true }).catch(() => []), late]);
    return found.map(({ address: host, family }) =>
      family === 6 ? `[${host}]:${port}` : `${host}:${port}`,
    );
  }
}
