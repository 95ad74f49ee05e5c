/** Clients of other replicas, for calls that are theirs to serve. */
import { JobService } from "@nexus/proto/orchestrator";
import { createRpcClient, type RpcChannel, type RpcClient } from "@nexus/rpc";

/** Most replicas with an open channel: there are no more shards to own. Addresses change with every deploy, so the one used
 * longest ago is closed beyond that. */
const CHANNELS_MAX = 64;

interface Entry {
  readonly channel: RpcChannel;
  readonly client: RpcClient<typeof JobService>;
}

/** Owns a channel for each replica that was called. */
export class ReplicaClients {
  readonly #open: (address: string) => RpcChannel;
  /** The one used last comes last. */
  readonly #entries = new Map<string, Entry>();

  /** `open` makes a channel to an address. */
  constructor(open: (address: string) => RpcChannel) {
    this.#open = open;
  }

  /** The client of the replica at this address. It carries no token of its own: calls pass the caller's on. */
  at(address: string): RpcClient<typeof JobService> {
    const entry = this.#entries.get(address) ?? this.#create(address);
    this.#entries.delete(address);
    this.#entries.set(address, entry);
    return entry.client;
  }

  close(): void {
    for (const { channel } of this.#entries.values()) channel.close();
    this.#entries.clear();
  }

  #create(address: string): Entry {
    const [oldest] = this.#entries;
    if (oldest !== undefined && this.#entries.size >= CHANNELS_MAX) {
      this.#entries.delete(oldest[0]);
      oldest[1].channel.close();
    }
    const channel = this.#open(address);
    return { channel, client: createRpcClient(JobService, channel) };
  }
}
