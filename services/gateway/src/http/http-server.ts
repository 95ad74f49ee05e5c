import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createContextValues } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { KiB, type Logger } from "@nexus/shared";
import type { Admission } from "./admission.ts";
import { addRoutes, type HttpRoute, peerKey } from "./connect-routes.ts";

declare global {
  /** The declarations of @connectrpc/connect name this DOM type, which Node's own types leave out. */
  type HeadersInit = NonNullable<ConstructorParameters<typeof Headers>[0]>;
}

/** What the HTTP port is made of. */
export interface HttpServerOptions {
  readonly host: string;
  readonly port: number;
  readonly messageMaxBytes: number;
  readonly routes: readonly HttpRoute[];
  readonly admission: Admission;
  /** Answers GET /.well-known/jwks.json. */
  readonly jwks: () => Promise<{ readonly json: string; readonly maxAgeSeconds: number }>;
  readonly logger: Logger;
}

/** A listening HTTP port. */
export interface HttpServer {
  readonly address: string;
  /** Stops accepting; cuts what is still open after `graceMs`. */
  close(graceMs: number): Promise<void>;
}

const HEADERS_MAX_BYTES = 16 * KiB;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 60_000;
const STREAM_TIMEOUT_MS_MAX = 3_600_000;

/** Opens the HTTP port: Connect, gRPC-Web and JSON for every public contract, and the keys that verify tokens. */
export async function openHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const server = createServer(
    {
      maxHeaderSize: HEADERS_MAX_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
    },
    createListener(options),
  );
  await listen(server, options);
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : options.port;
  return {
    address: `${options.host}:${port}`,
    close: (graceMs) => closeWithin(server, graceMs),
  };
}

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

function createListener(options: HttpServerOptions): Listener {
  const rpc = connectNodeAdapter({
    grpc: false,
    readMaxBytes: options.messageMaxBytes,
    maxTimeoutMs: STREAM_TIMEOUT_MS_MAX,
    routes: (router) => addRoutes(router, options.routes, options.admission),
    contextValues: (request) =>
      createContextValues().set(peerKey, request.socket.remoteAddress ?? ""),
    fallback: (_request, response) => {
      response.writeHead(404, { "content-type": "application/json" });
      response.end(JSON.stringify({ code: "not_found", message: "No such path." }));
    },
  });
  return (request, response) => {
    if (request.method === "GET" && request.url === "/.well-known/jwks.json") {
      void sendJwks(options, response);
    } else {
      rpc(request, response);
    }
  };
}

async function sendJwks(options: HttpServerOptions, response: ServerResponse): Promise<void> {
  try {
    const { json, maxAgeSeconds } = await options.jwks();
    response.setHeader("cache-control", `public, max-age=${maxAgeSeconds}`);
    sendJson(response, 200, json);
  } catch (error) {
    options.logger.warn({ err: error }, "the keys could not be fetched");
    const body = { code: "unavailable", message: "The keys cannot be fetched at the moment." };
    sendJson(response, 503, JSON.stringify(body));
  }
}

function sendJson(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(body);
}

function listen(server: Server, options: HttpServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function closeWithin(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}
