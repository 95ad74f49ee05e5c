/** A connection that can be cut, made late, or half-open: bytes stop, and neither end is told. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { promisify } from "node:util";

const HOST = "127.0.0.1";

/** Owns a port on loopback and what is connected through it. */
export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Of those: who has connected here. */
  readonly #clients = new Set<Socket>();
  /** And on which nothing gets through any more. */
  readonly #forgotten = new Set<Socket>();
  #target = { host: HOST, port: 0 };
  #silent = false;
  #isCut = false;
  readonly #lanes = new Set<Lane>();
  #isLate = false;
  #isMute = false;

  private constructor() {
    this.#server = createServer((client) => this.#accept(client));
  }

  /** Listens on a free port; connections go nowhere before aim(). */
  static async listen(): Promise<TcpProxy> {
    const proxy = new TcpProxy();
    await new Promise<void>((resolve) => {
      proxy.#server.listen(0, HOST, resolve);
    });
    return proxy;
  }

  /** Where it listens, on 127.0.0.1. */
  get port(): number {
    const address = this.#server.address();
    return address === null || typeof address === "string" ? 0 : address.port;
  }

  /** The port that connections go to. */
  get target(): number {
    return this.#target.port;
  }

  /** Sets where connections go. */
  aim(port: number, host: string = HOST): void {
    this.#target = { host, port };
  }

  /** From now on nothing gets through, on connections that are there and on new ones, and none is closed. */
  silence(): void {
    this.#silent = true;
    for (const socket of this.#sockets) this.#forget(socket);
  }

  /** New connections get through again after a silence; those of before it stay silent, and are not closed either. */
  speak(): void {
    this.#silent = false;
  }

  /** Clients that still hold a connection on which nothing gets through. */
  get unaware(): number {
    return [...this.#clients].filter((client) => this.#forgotten.has(client)).length;
  }

  /** Clients that get through. */
  get connected(): number {
    return this.#clients.size - this.unaware;
  }

  /** From now on what is said gets through, and what is answered is lost; nothing is closed. */
  mute(): void {
    this.#isMute = true;
    for (const lane of this.#lanes) lane.mute();
  }

  /** Cuts the one connection that the target sees come from a port; the others stay. */
  cutFrom(port: number): void {
    const socket = [...this.#sockets].find(({ localPort }) => localPort === port);
    if (socket === undefined) throw new Error(`nothing goes to the target from port ${port}`);
    socket.destroy();
  }

  /** As if another proxy had taken the place: what was connected is cut, and what comes gets through. */
  replace(): void {
    this.#silent = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** From now on what clients send waits here, on connections that are there and on new ones. */
  delay(): void {
    this.#isLate = true;
    for (const lane of this.#lanes) lane.hold();
  }

  /** Says whether something that waits has this text in it. */
  isWaiting(text: string): boolean {
    return [...this.#lanes].some((lane) => lane.holds(text));
  }

  /** What waits goes on its way, and what comes after it. */
  pass(): void {
    if (!this.#isLate) return;
    this.#isLate = false;
    for (const lane of this.#lanes) lane.pass();
  }

  /** From now on everything is refused; what is connected is cut. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** New connections get through again after a cut. */
  heal(): void {
    this.#isCut = false;
  }

  /** Ends everything. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await promisify(this.#server.close.bind(this.#server))();
  }

  #accept(client: Socket): void {
    if (this.#isCut) {
      client.on("error", () => undefined);
      client.resetAndDestroy();
      return;
    }
    this.#keep(client);
    this.#clients.add(client);
    if (this.#silent) {
      this.#forget(client);
      return;
    }
    const upstream = connect(this.#target);
    this.#keep(upstream);
    upstream.pipe(client);
    const lane = new Lane(client, upstream);
    this.#lanes.add(lane);
    if (this.#isLate) lane.hold();
    if (this.#isMute) lane.mute();
    client.once("close", () => this.#lanes.delete(lane));
    client.once("close", () => this.#passEnd(upstream));
    upstream.once("close", () => this.#passEnd(client));
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    // The other end sees the loss by its own socket being destroyed.
    socket.on("error", () => undefined);
    socket.once("close", () => {
      for (const sockets of [this.#sockets, this.#clients, this.#forgotten]) sockets.delete(socket);
    });
  }

  /** What still comes is read, or its end would not be seen, and dropped. */
  #forget(socket: Socket): void {
    this.#forgotten.add(socket);
    socket.unpipe();
    socket.removeAllListeners("data");
    socket.resume();
  }

  #passEnd(other: Socket): void {
    if (!this.#forgotten.has(other)) other.destroy();
  }
}

/** What a client sends, on its way. */
class Lane {
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #waiting: Buffer[] = [];
  readonly #keep = (chunk: Buffer): void => {
    this.#waiting.push(chunk);
  };

  constructor(client: Socket, upstream: Socket) {
    this.#client = client;
    this.#upstream = upstream;
    client.pipe(upstream);
  }

  hold(): void {
    this.#client.unpipe(this.#upstream);
    this.#client.on("data", this.#keep);
    this.#client.resume();
  }

  holds(text: string): boolean {
    return Buffer.concat(this.#waiting).includes(text);
  }

  pass(): void {
    this.#client.off("data", this.#keep);
    for (const chunk of this.#waiting.splice(0)) this.#upstream.write(chunk);
    this.#client.pipe(this.#upstream);
  }

  /** What the other end answers is lost. */
  mute(): void {
    this.#upstream.unpipe(this.#client);
    this.#upstream.resume();
  }
}
