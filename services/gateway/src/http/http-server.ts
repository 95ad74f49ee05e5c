import { createServer, type RequestListener, type Server } from "node:http";
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import type { Socket } from "node:net";
import { contextOptions, type TlsOptions } from "@nexus/rpc";
import { KiB } from "@nexus/shared";

/** What an HTTP port needs. */
export interface HttpServerOptions {
  readonly host: string;
  readonly port: number;
  /** Absent: plaintext, and HTTP/1.1 alone. With TLS the client chooses between HTTP/2 and HTTP/1.1 (ALPN). */
  readonly tls: TlsOptions | undefined;
  readonly listener: RequestListener;
}

/** A listening HTTP port. */
export interface HttpServer {
  readonly address: string;
  /** Stops accepting; cuts what is still open after `graceMs`. Idempotent. */
  close(graceMs: number): Promise<void>;
}

const HEADERS_MAX_BYTES = 16 * KiB;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 60_000;
const IDLE_SWEEP_MS = 50;
/** A connection without a request may stay this long. */
const KEEP_ALIVE_MS = 5_000;
/** Calls that one HTTP/2 connection may have open at once; browsers and proxies assume a hundred. */
const STREAMS_MAX = 100;

const LIMITS = {
  maxHeaderSize: HEADERS_MAX_BYTES,
  headersTimeout: HEADERS_TIMEOUT_MS,
  requestTimeout: REQUEST_TIMEOUT_MS,
  keepAliveTimeout: KEEP_ALIVE_MS,
} as const;

/** Opens the port. Errors: Node's own, e.g. EADDRINUSE. */
export async function openHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, tls, listener } = options;
  const server = tls === undefined ? createServer(LIMITS, listener) : secureServer(tls, listener);
  const open = trackConnections(server);
  await listen(server, host, port);
  const bound = server.address();
  const boundPort = typeof bound === "object" && bound !== null ? bound.port : port;
  let closing: Promise<void> | undefined;
  return {
    address: `${host}:${boundPort}`,
    close(graceMs) {
      closing ??= closeWithin(server, open, graceMs);
      return closing;
    },
  };
}

type AnyServer = Server | Http2SecureServer;

function secureServer(tls: TlsOptions, listener: RequestListener): Http2SecureServer {
  const context = () => contextOptions(withoutCa(tls));
  const server = createSecureServer({
    ...context(),
    allowHTTP1: true,
    handshakeTimeout: HEADERS_TIMEOUT_MS,
    settings: { maxConcurrentStreams: STREAMS_MAX, maxHeaderListSize: HEADERS_MAX_BYTES },
  });
  // What an HTTP/1.1 server takes as options, this one reads from itself for connections that chose HTTP/1.1.
  Object.assign(server, LIMITS);
  // Node gives both protocols the same interface, as far as the listener uses it.
  const asHttp2 = listener as unknown as (
    request: Http2ServerRequest,
    response: Http2ServerResponse,
  ) => void;
  server.on("request", asHttp2);
  server.on("session", (session: ServerHttp2Session) => {
    // Says goodbye; open calls go on.
    session.setTimeout(KEEP_ALIVE_MS, () => session.close());
    // A connection that breaks is the client's affair.
    session.on("error", () => session.destroy());
  });
  const stop = tls.source.onChange(() => server.setSecureContext(context()));
  server.once("close", stop);
  return server;
}

/** Nobody is asked for a certificate here, so there is nothing to hold one against. */
function withoutCa({ source }: TlsOptions) {
  const { cert, key } = source.current ?? {};
  return { ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) };
}

/** What is open, to be ended one day. */
interface Connections {
  readonly sockets: ReadonlySet<Socket>;
  /** Those that chose HTTP/2. */
  readonly sessions: ReadonlySet<ServerHttp2Session>;
}

function trackConnections(server: AnyServer): Connections {
  const sockets = new Set<Socket>();
  const sessions = new Set<ServerHttp2Session>();
  const keep = <T extends Socket | ServerHttp2Session>(open: Set<T>, one: T) => {
    open.add(one);
    one.once("close", () => open.delete(one));
  };
  server.on("connection", (socket: Socket) => keep(sockets, socket));
  server.on("session", (session: ServerHttp2Session) => keep(sessions, session));
  return { sockets, sessions };
}

function listen(server: AnyServer, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** A connection whose last answer was written stays open for the caller's next request, so idle ones are looked for
 * again and again until none is left. */
function closeWithin(server: AnyServer, open: Connections, graceMs: number): Promise<void> {
  const endIdle = () => {
    for (const session of open.sessions) session.close();
    // Node types the HTTP/2 server without what it has for its HTTP/1.1 connections.
    (server as Server).closeIdleConnections();
  };
  return new Promise((resolve) => {
    const sweep = setInterval(endIdle, IDLE_SWEEP_MS);
    const timer = setTimeout(() => {
      for (const socket of open.sockets) socket.destroy();
    }, graceMs);
    server.close(() => {
      clearInterval(sweep);
      clearTimeout(timer);
      resolve();
    });
    endIdle();
  });
}
