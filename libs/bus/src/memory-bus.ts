/** The driver inside one process: for one replica, and for tests of several. Nothing is encoded; bodies are shared, not copied. */
import { BODY_BYTES_MAX, type Bus, type BusEvents, type BusGap, type BusMessage } from "./bus.ts";
import { Subscribers } from "./subscribers.ts";

const INBOUND_MAX = 10_000;
const DELIVERED_PER_TURN = 256;
const REMEMBERED_MAX = 10_000;

/** Connects the memory buses of one process. */
export interface MemoryHub {
  /** Loses what waits for a replica, as a broker that forgets does; for tests. */
  dropWaiting(replicaId: string): void;
}

/** What a memory bus is made from. */
export interface MemoryBusOptions {
  readonly replicaId: string;
  /** @default a hub of its own: it has no peers */
  readonly hub?: MemoryHub;
  readonly events: BusEvents;
  /** Messages that may wait for this replica; further ones are dropped, with a gap. @default 10_000 */
  readonly inboundMax?: number;
  /** Milliseconds that never step back. @default performance.now */
  readonly nowMs?: () => number;
}

/** Creates a hub. */
export function createMemoryHub(): MemoryHub {
  return new Hub();
}

/** Creates a bus on a hub. */
export function createMemoryBus(options: MemoryBusOptions): Bus {
  const hub = options.hub ?? new Hub();
  if (!(hub instanceof Hub)) throw new TypeError("the hub is not one of createMemoryHub");
  return new MemoryBus({ ...options, hub });
}

class Hub implements MemoryHub {
  readonly buses = new Map<string, MemoryBus>();
  readonly remembered = new Map<string, { value: Uint8Array; untilMs: number }>();

  dropWaiting(replicaId: string): void {
    this.buses.get(replicaId)?.dropWaiting();
  }
}

type Incoming = { readonly message: BusMessage } | { readonly gap: BusGap };

class MemoryBus implements Bus {
  readonly replicaId: string;
  readonly #hub: Hub;
  readonly #events: BusEvents;
  readonly #inboundMax: number;
  readonly #nowMs: () => number;
  readonly #subscribers: Subscribers;
  #incoming: Incoming[] = [];
  #turn: NodeJS.Immediate | undefined;
  #isClosed = false;

  constructor(options: MemoryBusOptions & { readonly hub: Hub }) {
    this.replicaId = options.replicaId;
    this.#hub = options.hub;
    this.#events = options.events;
    this.#inboundMax = options.inboundMax ?? INBOUND_MAX;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.#subscribers = new Subscribers(options.events);
    const { buses } = this.#hub;
    // A replica of the same name that was not closed is gone: it was killed, as far as the others can tell.
    buses.get(this.replicaId)?.leave();
    buses.set(this.replicaId, this);
    for (const other of this.#others()) other.#subscribers.joined(this.replicaId);
  }

  get isConnected(): boolean {
    return !this.#isClosed;
  }

  get peers(): readonly string[] {
    return this.#others().map(({ replicaId }) => replicaId);
  }

  publish(to: string, kind: string, body: Uint8Array): boolean {
    const receiver = this.#hub.buses.get(to);
    return this.#send(receiver === undefined || receiver === this ? [] : [receiver], kind, body);
  }

  broadcast(kind: string, body: Uint8Array): boolean {
    return this.#send(this.#others(), kind, body);
  }

  subscribe(kind: string, subscriber: Parameters<Bus["subscribe"]>[1]): () => void {
    return this.#subscribers.add(kind, subscriber);
  }

  watchPeers(observer: Parameters<Bus["watchPeers"]>[0]): () => void {
    return this.#subscribers.watch(observer, this.peers);
  }

  async remember(key: string, value: Uint8Array, ttlMs: number): Promise<boolean> {
    const { remembered } = this.#hub;
    if (this.#isClosed || value.byteLength > BODY_BYTES_MAX) return false;
    remembered.delete(key);
    for (const [oldest] of remembered) {
      if (remembered.size < REMEMBERED_MAX) break;
      remembered.delete(oldest);
    }
    remembered.set(key, { value, untilMs: this.#nowMs() + ttlMs });
    return true;
  }

  async recall(key: string): Promise<Uint8Array | undefined> {
    const found = this.#hub.remembered.get(key);
    if (this.#isClosed || found === undefined) return undefined;
    if (this.#nowMs() < found.untilMs) return found.value;
    this.#hub.remembered.delete(key);
    return undefined;
  }

  /** Forgets what waits, as a broker that lost it would. */
  dropWaiting(): void {
    const dropped = this.#incoming.filter((one) => "message" in one);
    this.#incoming = [];
    const froms = new Set(dropped.map(({ message }) => message.from));
    for (const from of froms) this.#take({ gap: { from, cause: "lost" } });
  }

  /** Leaves the hub; nothing is delivered any more. */
  leave(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearImmediate(this.#turn);
    this.#incoming = [];
    this.#hub.buses.delete(this.replicaId);
    for (const other of this.#others()) other.#subscribers.lost(this.replicaId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.leave();
  }

  #others(): MemoryBus[] {
    return [...this.#hub.buses.values()].filter((bus) => bus !== this);
  }

  #send(receivers: readonly MemoryBus[], kind: string, body: Uint8Array): boolean {
    if (this.#isClosed || body.byteLength > BODY_BYTES_MAX) {
      this.#events.refused(1);
      return false;
    }
    this.#events.published(1);
    for (const receiver of receivers) {
      receiver.#take({ message: { kind, from: this.replicaId, body } });
    }
    return true;
  }

  #take(incoming: Incoming): void {
    if (this.#incoming.length < this.#inboundMax) this.#incoming.push(incoming);
    else {
      // One gap, where the first lost message would stand.
      const last = this.#incoming.at(-1);
      if (last !== undefined && "message" in last) {
        this.#incoming.push({ gap: { from: undefined, cause: "behind" } });
      }
    }
    this.#turn ??= setImmediate(() => this.#deliver());
  }

  #deliver(): void {
    this.#turn = undefined;
    const batch = this.#incoming.splice(0, DELIVERED_PER_TURN);
    if (this.#incoming.length > 0) this.#turn = setImmediate(() => this.#deliver());
    for (const one of batch) {
      if (this.#isClosed) return;
      if ("gap" in one) this.#subscribers.tellGap(one.gap);
      else {
        this.#events.received(1);
        this.#subscribers.deliver(one.message);
      }
    }
  }
}
