import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { SecureContextOptions } from "node:tls";
import { withDeadline } from "@nexus/shared";
import type { Metrics } from "./metrics.ts";

/** The answer of all readiness checks together. */
export interface Readiness {
  /** True when the service may get traffic. */
  readonly ready: boolean;
  /** By check: `ok`, or what is wrong. Operators read it, so it holds no secrets. */
  readonly checks: Readonly<Record<string, string>>;
}

/** Certificates of the port; they may change while it is open. */
export interface OpsTls {
  /** Undefined while there are none: connections fail until there are. */
  readonly current: SecureContextOptions | undefined;
  /** Calls `fn` after each change; returns the function that ends it. */
  onChange(fn: () => void): () => void;
}

/** What startOpsServer needs. */
export interface OpsServerOptions {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly metrics: Metrics;
  /** Asked at each GET /ready; must be cheap. */
  readonly readiness: () => Promise<Readiness>;
  /** Absent: plain HTTP. */
  readonly tls?: OpsTls | undefined;
}

/** The operators' port of a service, reachable only inside the cluster. */
export interface OpsServer {
  /** `host:port` as bound. */
  readonly address: string;
  readonly port: number;
  /** Stops listening and ends open connections. */
  close(): Promise<void>;
}

/** /ready answers 503 when the checks take longer. Kubernetes probes give up after 1 s to 10 s. */
export const READY_TIMEOUT_MS = 2_000;
const REQUEST_TIMEOUT_MS = 10_000;
const CONNECTIONS_MAX = 64;

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

function json(status: number, value: unknown): Reply {
  return { status, type: "application/json; charset=utf-8", body: `${JSON.stringify(value)}\n` };
}

async function replyReady(options: OpsServerOptions): Promise<Reply> {
  try {
    const state = await withDeadline(options.readiness(), READY_TIMEOUT_MS);
    return json(state.ready ? 200 : 503, state);
  } catch (error) {
    const what = error instanceof Error ? error.message : "failed";
    return json(503, { ready: false, checks: { readiness: what } });
  }
}

async function replyMetrics(metrics: Metrics): Promise<Reply> {
  return { status: 200, type: metrics.registry.contentType, body: await metrics.text() };
}

async function route(request: IncomingMessage, options: OpsServerOptions): Promise<Reply> {
  const path = new URL(request.url ?? "/", "http://ops").pathname;
  const known = path === "/metrics" || path === "/live" || path === "/ready";
  if (!known) return json(404, { error: "not found", paths: ["/metrics", "/live", "/ready"] });
  if (request.method !== "GET" && request.method !== "HEAD") {
    return json(405, { error: "method not allowed" });
  }
  if (path === "/metrics") return replyMetrics(options.metrics);
  if (path === "/ready") return replyReady(options);
  return json(200, { live: true });
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  options: OpsServerOptions,
): Promise<void> {
  let reply: Reply;
  try {
    reply = await route(request, options);
  } catch {
    // A broken request line or a metric whose read() throws: the caller learns that, and nothing else stops.
    reply = json(500, { error: "internal error" });
  }
  response.writeHead(reply.status, {
    "content-type": reply.type,
    "content-length": Buffer.byteLength(reply.body),
    "cache-control": "no-store",
  });
  response.end(request.method === "HEAD" ? undefined : reply.body);
}

function listen(server: Server, options: OpsServerOptions): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, () => {
      server.removeListener("error", reject);
      resolve(server.address() as AddressInfo);
    });
  });
}

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

function createPlainOrSecure(tls: OpsTls | undefined, listener: Listener): Server {
  if (tls === undefined) return createServer(listener);
  const server = createSecureServer(
    { ...tls.current, handshakeTimeout: REQUEST_TIMEOUT_MS },
    listener,
  );
  const stop = tls.onChange(() => server.setSecureContext(tls.current ?? {}));
  server.once("close", stop);
  return server;
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

/** Starts the ops port: GET /metrics (Prometheus text), /live (200 while the process answers), /ready (200 or 503
 * with the checks as JSON), 404 for everything else.
 *
 * /live deliberately checks nothing: a restart does not mend a database that is away.
 * Errors: rejects with the system's error when the port is taken. */
export async function startOpsServer(options: OpsServerOptions): Promise<OpsServer> {
  const server = createPlainOrSecure(
    options.tls,
    (request, response) => void handle(request, response, options),
  );
  server.maxConnections = CONNECTIONS_MAX;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  const bound = await listen(server, options);
  let closing: Promise<void> | undefined;
  return {
    address: `${bound.family === "IPv6" ? `[${bound.address}]` : bound.address}:${bound.port}`,
    port: bound.port,
    close() {
      closing ??= close(server);
      return closing;
    },
  };
}
