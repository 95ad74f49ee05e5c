/** The streams to all mesh-routers, opened while this process owns the jobs. */
import { lookup } from "node:dns/promises";
import type { RpcChannel, TokenSource, WireWriter } from "@nexus/rpc";
import type { Logger } from "@nexus/shared";
import type { AgentUpdate, Dispatch, Refusal, SessionReport } from "../domain/ports.ts";
import { RouterStream } from "./router-stream.ts";
import { writeAssignment, writeCancel, writeDemand, writeResult } from "./wire/dispatch-request.ts";
import type { RouterFrame } from "./wire/dispatch-response.ts";

/** Most routers this process talks to. */
const ROUTERS_MAX = 256;
const DNS_PREFIX = "dns:///";

/** What the streams tell the engine. */
export interface DispatchListener {
  onStreamOpened(router: string): void;
  onReport(router: string, report: SessionReport): void;
  onSnapshotComplete(router: string): void;
  onUpdate(update: AgentUpdate): void;
  onRefusal(refusal: Refusal): void;
  onStreamLost(router: string, error: unknown): void;
}

/** What the streams need. */
export interface DispatchClientOptions {
  /** `host:port`, or `dns:///host:port` for all addresses of a name. */
  readonly addresses: readonly string[];
  readonly orchestratorId: string;
  /** Opens a channel, which is closed with its stream: addresses come and go. */
  readonly channel: (address: string) => RpcChannel;
  readonly tokens: TokenSource;
  readonly logger: Logger;
  /** Finds all addresses of a name. @default the system's resolver */
  readonly lookUp?: (hostname: string) => Promise<readonly FoundAddress[]>;
}

/** One address of a name. */
interface FoundAddress {
  readonly address: string;
  /** 4 or 6. */
  readonly family: number;
}

const lookUpByDns = (hostname: string) => lookup(hostname, { all: true });

/** Owns one stream for each router. A stream is named by its router's address. */
export class DispatchClient implements Dispatch {
  readonly #options: DispatchClientOptions;
  readonly #streams = new Map<string, RouterStream>();
  #listener: DispatchListener | undefined;
  #open = false;

  constructor(options: DispatchClientOptions) {
    this.#options = options;
  }

  /** Sets who is told; before open(). */
  listen(listener: DispatchListener): void {
    this.#listener = listener;
  }

  /** Opens the streams. Does nothing when they are open. */
  open(): void {
    this.#open = true;
    for (const address of this.#options.addresses) {
      if (!address.startsWith(DNS_PREFIX)) this.#openStream(address);
    }
  }

  /** Ends all streams. */
  async close(): Promise<void> {
    this.#open = false;
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    await Promise.all(streams.map((stream) => stream.close()));
  }

  /** Looks names up again: opens streams to new addresses, ends those to addresses that are gone and do not answer. A router
   * that is not ready for a moment is left out of its name; while its stream goes on its agents have no other way in. */
  async refresh(): Promise<void> {
    const names = this.#options.addresses.filter((address) => address.startsWith(DNS_PREFIX));
    if (!this.#open || names.length === 0) return;
    const wanted = new Set(this.#options.addresses.filter((a) => !a.startsWith(DNS_PREFIX)));
    for (const name of names) {
      const { hostname, port } = new URL(`grpc://${name.slice(DNS_PREFIX.length)}`);
      const found = await (this.#options.lookUp ?? lookUpByDns)(hostname);
      for (const { address, family } of found) {
        wanted.add(family === 6 ? `[${address}]:${port}` : `${address}:${port}`);
      }
    }
    if (!this.#open) return;
    for (const address of wanted) this.#openStream(address);
    const gone = [...this.#streams].filter(([name, stream]) => !wanted.has(name) && !stream.isUp);
    for (const [address] of gone) this.#streams.delete(address);
    await Promise.all(gone.map(([, stream]) => stream.close()));
  }

  assign(...[router, session, assignment]: Parameters<Dispatch["assign"]>): boolean {
    return this.#put(router, (writer) => writeAssignment(writer, session, assignment));
  }

  cancel(...[router, session, cancel]: Parameters<Dispatch["cancel"]>): boolean {
    return this.#put(router, (writer) => writeCancel(writer, session, cancel));
  }

  /** The agent has gone on to other tasks: it only forgets the one that this is about. */
  answer(...[router, session, result]: Parameters<Dispatch["answer"]>): boolean {
    const write = (writer: WireWriter) => writeResult(writer, session, result);
    return this.#streams.get(router)?.putLater(write) ?? false;
  }

  demand(...[router, session, demand]: Parameters<Dispatch["demand"]>): boolean {
    return this.#put(router, (writer) => writeDemand(writer, session, demand));
  }

  #put(router: string, write: Parameters<RouterStream["put"]>[0]): boolean {
    return this.#streams.get(router)?.put(write) ?? false;
  }

  #openStream(address: string): void {
    if (this.#streams.has(address)) return;
    if (this.#streams.size >= ROUTERS_MAX) {
      this.#options.logger.error({ address }, "too many mesh-routers; this one is left out");
      return;
    }
    const { channel, tokens, orchestratorId } = this.#options;
    const stream = new RouterStream({
      channel: channel(address),
      tokens,
      router: address,
      orchestratorId,
      events: {
        onOpened: () => this.#listener?.onStreamOpened(address),
        onFrame: (frame) => this.#onFrame(address, frame),
        onLost: (error) => this.#listener?.onStreamLost(address, error),
      },
    });
    this.#streams.set(address, stream);
  }

  #onFrame(router: string, frame: RouterFrame): void {
    const listener = this.#listener;
    if (listener === undefined) return;
    for (const report of frame.reports) listener.onReport(router, report);
    if (frame.snapshotComplete) listener.onSnapshotComplete(router);
    for (const update of frame.updates) listener.onUpdate(update);
    for (const refusal of frame.refusals) listener.onRefusal(refusal);
  }
}
