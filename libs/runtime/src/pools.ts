/** What a service keeps open towards others, as figures: connections to Postgres, channels to services. */
import process from "node:process";
import { createRpcChannel, type RpcChannel, type RpcChannelOptions } from "@nexus/rpc";
import type { Metrics } from "@nexus/telemetry";
import type { ServiceFrame } from "./frame-contract.ts";

/** The part of a Postgres pool that is watched. */
export interface WatchedPool {
  check(): Promise<void>;
  stats(): {
    readonly total: number;
    readonly idle: number;
    readonly waiting: number;
    readonly max: number;
  };
  close(): Promise<void>;
  onHistoryChange(listener: (error: Error) => void): void;
}

/** Has a pool closed with the service, makes it a condition of readiness and exports its size and use.
 *
 * A database that goes on from another history ends the process: nothing that it remembers can be relied on (ADR 0030). */
export function usePool(frame: ServiceFrame, pool: WatchedPool): void {
  pool.onHistoryChange((error) => {
    process.nextTick(() => {
      throw error;
    });
  });
  frame.defer("postgres", () => pool.close());
  frame.check("postgres", () => pool.check());
  const gauge = (name: string, help: string, read: () => number) =>
    frame.metrics.gauge({ name: `postgres_${name}`, help, read });
  gauge("connections_max", "Connections that the pool may open.", () => pool.stats().max);
  gauge("connections", "Connections that the pool has open.", () => pool.stats().total);
  gauge("connections_idle", "Open connections that nobody uses.", () => pool.stats().idle);
  gauge("waiting_callers", "Callers that wait for a connection.", () => pool.stats().waiting);
}

/** Opens channels and counts those that are open. */
export class OpenChannels {
  readonly #open = new Set<RpcChannel>();
  #connections = 0;

  constructor(metrics: Metrics) {
    metrics.gauge({
      name: "channels",
      help: "gRPC channels to other services that are open.",
      read: () => this.#open.size,
    });
    metrics.gauge({
      name: "channel_connections_max",
      help: "Connections that these channels may hold to each address, in all.",
      read: () => this.#connections,
    });
  }

  /** Opens a channel; it counts until it is closed. */
  open(options: RpcChannelOptions): RpcChannel {
    const channel = createRpcChannel(options);
    const { connections = 1 } = options;
    const counted: RpcChannel = {
      address: channel.address,
      get transport() {
        return channel.transport;
      },
      placeStream: () => channel.placeStream(),
      close: () => {
        if (this.#open.delete(counted)) this.#connections -= connections;
        channel.close();
      },
    };
    this.#open.add(counted);
    this.#connections += connections;
    return counted;
  }
}
