/** The driver for many replicas: a Redis stream for each, and one for all. */
import { randomBytes } from "node:crypto";
import { MiB, withDeadline } from "@nexus/shared";
import type { Redis } from "ioredis";
import type { Batch, BatchItem } from "../batch.ts";
import { BODY_BYTES_MAX, type Bus, type BusEvents, NAME_BYTES_MAX } from "../bus.ts";
import { PeerBook, type Way } from "../peer-book.ts";
import { Subscribers } from "../subscribers.ts";
import { isRefusal, openConnection, replaceConnection, withoutCommand } from "./connection.ts";
import { createKeys, EVERYONE, type Keys } from "./keys.ts";
import { StreamReader } from "./stream-reader.ts";
import { StreamWriter } from "./stream-writer.ts";

const COMMAND_TIMEOUT_MS = 2_000;
/** Longer than a read waits for news. */
const READ_TIMEOUT_MS = 4_000;
const HEARTBEAT_INTERVAL_MS = 1_000;
const LOST_AFTER_MS = 5_000;
/** A heartbeat that comes so many intervals after the last one was held up, and with it what others said. */
const SWEEP_GAP_HEARTBEATS = 2;
const GOODBYE_TIMEOUT_MS = 500;
/** A bus that was refused a write counts as away for so long at least. */
const REFUSED_FOR_MS = 1_000;
const STREAM_ENTRIES_MAX = 2_048;
/** So many full batches. */
const STREAM_BYTES_MAX = 128 * MiB;
const WAITING_BYTES_MAX = 16 * MiB;
const INCARNATION_BYTES = 9;

/** Kinds of the bus itself, which no subscriber can have. */
const HEARTBEAT = "";
const GOODBYE = ".";
const NOTHING = new Uint8Array();

/** What a Redis bus is made from. */
export interface RedisBusOptions {
  readonly replicaId: string;
  /** `redis://user:password@host:port/database`, or `rediss://` with TLS. */
  readonly url: string;
  /** Replicas of one deployment meet; two deployments may share a Redis. */
  readonly deployment: string;
  readonly events: BusEvents;
  /** How often this replica says that it is there, and how much it wrote. @default 1_000 */
  readonly heartbeatIntervalMs?: number;
  /** Silence after which a replica is taken for lost; time for which this process was held up does not count. @default 5_000 */
  readonly lostAfterMs?: number;
  /** Bytes that may wait to be written; beyond it messages are not taken. @default 16 MiB */
  readonly waitingBytesMax?: number;
  /** Entries that a stream keeps, about; a replica that is further behind misses some. Its reader takes what it read out of
   * its own stream, so only the common one and that of a replica which does not read come near it. @default 2_048 */
  readonly streamEntriesMax?: number;
  /** Bytes that a stream keeps, about, shared among those who write to it; one entry of each at least. @default 128 MiB */
  readonly streamBytesMax?: number;
  /** Milliseconds that never step back. @default performance.now */
  readonly nowMs?: () => number;
}

/** Creates a bus on Redis. It connects by itself, now and after every loss, and does not wait for that. */
export function createRedisBus(options: RedisBusOptions): Bus {
  const bytes = Buffer.byteLength(options.replicaId);
  if (bytes === 0 || bytes > NAME_BYTES_MAX) {
    throw new TypeError(`the replica's name must have 1 to ${NAME_BYTES_MAX} bytes`);
  }
  return new RedisBus(options);
}

class RedisBus implements Bus {
  readonly replicaId: string;
  readonly #events: BusEvents;
  readonly #nowMs: () => number;
  readonly #subscribers: Subscribers;
  readonly #peers: PeerBook;
  readonly #keys: Keys;
  readonly #redis: Redis;
  readonly #writer: StreamWriter;
  readonly #reader: StreamReader;
  readonly #heartbeat: NodeJS.Timeout;
  /** All names that this start had: what they said comes back. */
  readonly #ownIncarnations = new Set<string>();
  #isListening = false;
  /** Undefined until it is known. */
  #wasConnected: boolean | undefined;
  /** When Redis last refused a write; undefined once it took one a while after. */
  #refusedAtMs: number | undefined;
  #hasListened = false;
  #isBeating = false;
  #closing: Promise<void> | undefined;

  constructor(options: RedisBusOptions) {
    const { replicaId, url, events, waitingBytesMax = WAITING_BYTES_MAX } = options;
    this.replicaId = replicaId;
    this.#events = events;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.#keys = createKeys(options.deployment);
    this.#subscribers = new Subscribers(events);
    const heartbeatIntervalMs = options.heartbeatIntervalMs ?? HEARTBEAT_INTERVAL_MS;
    const lostAfterMs = options.lostAfterMs ?? LOST_AFTER_MS;
    const sweepGapMaxMs = heartbeatIntervalMs * SWEEP_GAP_HEARTBEATS;
    this.#peers = new PeerBook(
      { lostAfterMs, sweepGapMaxMs },
      {
        joined: (id) => this.#subscribers.joined(id),
        lost: (id) => this.#subscribers.lost(id),
        gap: (gap) => this.#subscribers.tellGap(gap),
      },
    );
    const name = `nexus-bus-${replicaId.replaceAll(/[^\w.-]/g, "_")}`;
    this.#redis = openConnection({ url, name, commandTimeoutMs: COMMAND_TIMEOUT_MS });
    this.#redis.on("error", (error) => this.#noteState(error));
    this.#redis.on("close", () => this.#noteState(undefined));
    this.#redis.on("ready", () => {
      this.#noteState(undefined);
      this.#beat();
    });
    this.#writer = new StreamWriter({
      redis: this.#redis,
      keys: this.#keys,
      replicaId,
      newIncarnation: () => this.#newIncarnation(),
      waitingBytesMax,
      streamEntriesMax: options.streamEntriesMax ?? STREAM_ENTRIES_MAX,
      streamBytesMax: () =>
        (options.streamBytesMax ?? STREAM_BYTES_MAX) / (1 + this.#peers.replicaIds.length),
      onWritten: (failed, error) => this.#written(failed, error),
    });
    this.#reader = this.#openReader(url, `${name}-reader`);
    this.#heartbeat = setInterval(() => this.#beat(), heartbeatIntervalMs);
    this.#heartbeat.unref();
  }

  get isConnected(): boolean {
    const isRefused = this.#refusedAtMs !== undefined;
    return this.#isListening && this.#redis.status === "ready" && !isRefused;
  }

  get peers(): readonly string[] {
    return this.#peers.replicaIds;
  }

  publish(to: string, kind: string, body: Uint8Array): boolean {
    return this.#write(to, { kind, body });
  }

  broadcast(kind: string, body: Uint8Array): boolean {
    return this.#write(EVERYONE, { kind, body });
  }

  subscribe(kind: string, subscriber: Parameters<Bus["subscribe"]>[1]): () => void {
    const bytes = Buffer.byteLength(kind);
    if (kind === HEARTBEAT || kind === GOODBYE || bytes > NAME_BYTES_MAX) {
      throw new TypeError(`${JSON.stringify(kind)} is no kind`);
    }
    return this.#subscribers.add(kind, subscriber);
  }

  watchPeers(observer: Parameters<Bus["watchPeers"]>[0]): () => void {
    return this.#subscribers.watch(observer, this.peers);
  }

  async remember(key: string, value: Uint8Array, ttlMs: number): Promise<boolean> {
    if (value.byteLength > BODY_BYTES_MAX) return false;
    try {
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      await this.#redis.set(this.#keys.value(key), bytes, "PX", Math.max(1, Math.ceil(ttlMs)));
      return true;
    } catch {
      // Nobody has to remember anything: whoever wants to know asks where the truth is.
      return false;
    }
  }

  async recall(key: string): Promise<Uint8Array | undefined> {
    try {
      return (await this.#redis.getBuffer(this.#keys.value(key))) ?? undefined;
    } catch {
      // As if it had been forgotten.
      return undefined;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearInterval(this.#heartbeat);
    this.#writer.write(EVERYONE, { kind: GOODBYE, body: NOTHING });
    await withDeadline(this.#writer.flush(), GOODBYE_TIMEOUT_MS).catch(() => undefined);
    this.#redis.disconnect();
    await this.#reader.close();
  }

  #openReader(url: string, name: string): StreamReader {
    const redis = openConnection({ url, name, commandTimeoutMs: READ_TIMEOUT_MS });
    redis.on("error", (error) => this.#noteState(error));
    return new StreamReader({
      redis,
      streams: { own: this.#keys.stream(this.replicaId), all: this.#keys.stream(EVERYONE) },
      onListening: () => this.#listening(),
      onLost: (error) => {
        this.#isListening = false;
        this.#noteState(error);
      },
      onBatch: (batch, way, isBehind) => this.#take(batch, way, isBehind),
    });
  }

  #listening(): void {
    this.#isListening = true;
    this.#noteState(undefined);
    if (!this.#hasListened) this.#subscribers.tellGap({ from: undefined, cause: "started" });
    this.#hasListened = true;
    this.#beat();
  }

  /** Reports when the bus begins or ceases to carry, and why it does not begin. */
  #noteState(error: unknown): void {
    const { isConnected } = this;
    if (isConnected === this.#wasConnected || this.#closing !== undefined) return;
    // Before the first connection only a failure is news.
    if (this.#wasConnected === undefined && !isConnected && error === undefined) return;
    this.#wasConnected = isConnected;
    if (isConnected) this.#events.connected(this.#hasListened);
    else this.#events.disconnected(withoutCommand(error));
  }

  /** Redis took a write, or did not. One that is full or read-only answers every heartbeat and carries nothing; where it takes
   * some and refuses others, that is told once in a while, not with each. */
  #written(failed: number, error: unknown): void {
    const nowMs = this.#nowMs();
    if (failed > 0) this.#events.refused(failed);
    if (isRefusal(error)) this.#refusedAtMs = nowMs;
    else if (failed === 0 && nowMs - (this.#refusedAtMs ?? nowMs) >= REFUSED_FOR_MS) {
      this.#refusedAtMs = undefined;
    }
    this.#noteState(error);
  }

  #write(to: string, item: BatchItem): boolean {
    const isTaken =
      this.#closing === undefined &&
      item.body.byteLength <= BODY_BYTES_MAX &&
      this.#writer.write(to, item);
    if (isTaken) this.#events.published(1);
    else this.#events.refused(1);
    return isTaken;
  }

  /** Says that this replica is there, and how much it wrote to whom. */
  #beat(): void {
    this.#peers.sweep(this.#nowMs());
    if (this.#redis.status !== "ready" || this.#isBeating || this.#closing !== undefined) return;
    this.#isBeating = true;
    void this.#writeHeartbeat().finally(() => {
      this.#isBeating = false;
    });
  }

  async #writeHeartbeat(): Promise<void> {
    try {
      // What is numbered has to be written before it is spoken of.
      await this.#writer.flush();
      const body = Buffer.from(JSON.stringify(this.#writer.written));
      this.#writer.write(EVERYONE, { kind: HEARTBEAT, body });
      await this.#writer.keepAlive();
    } catch (error) {
      this.#noteState(error);
      if (this.#closing === undefined) replaceConnection(this.#redis);
    }
  }

  #take(batch: Batch, way: Way, isBehind: boolean): void {
    const { from, incarnation, sentAtMs, items } = batch;
    if (this.#ownIncarnations.has(incarnation)) return;
    if (!this.#peers.heard(batch, way, this.#nowMs())) return;
    this.#events.lag(Math.max(0, Date.now() - sentAtMs));
    for (const { kind, body } of items) {
      if (kind === HEARTBEAT) this.#readHeartbeat(from, body, isBehind);
      else if (kind === GOODBYE) this.#peers.left(from);
      else {
        this.#events.received(1);
        this.#subscribers.deliver({ kind, from, body });
      }
    }
  }

  #readHeartbeat(from: string, body: Uint8Array, isBehind: boolean): void {
    if (isBehind) return;
    const written = tryParse(body);
    if (typeof written !== "object" || written === null) return;
    const toThis = (written as Record<string, unknown>)[this.replicaId];
    if (typeof toThis === "number") this.#peers.told(from, toThis);
  }

  #newIncarnation(): string {
    const incarnation = randomBytes(INCARNATION_BYTES).toString("base64url");
    this.#ownIncarnations.add(incarnation);
    return incarnation;
  }
}

function tryParse(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString());
  } catch {
    // Written by somebody else: it says nothing, and the next heartbeat follows.
    return undefined;
  }
}
