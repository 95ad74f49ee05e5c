import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { TlsOptions } from "@nexus/rpc";
import { KiB } from "@nexus/shared";

/** What an HTTP port needs. */
export interface HttpServerOptions {
  readonly host: string;
  readonly port: number;
  /** Absent: plaintext. */
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

const LIMITS = {
  maxHeaderSize: HEADERS_MAX_BYTES,
  headersTimeout: HEADERS_TIMEOUT_MS,
  requestTimeout: REQUEST_TIMEOUT_MS,
} as const;

/** Opens the port. Errors: Node's own, e.g. EADDRINUSE. */
export async function openHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, tls, listener } = options;
  const server =
    tls === undefined
      ? createServer(LIMITS, listener)
      : createSecureServer({ ...LIMITS, ...secureOptions(tls) }, listener);
  await listen(server, host, port);
  const bound = server.address();
  const boundPort = typeof bound === "object" && bound !== null ? bound.port : port;
  let closing: Promise<void> | undefined;
  return {
    address: `${host}:${boundPort}`,
    close(graceMs) {
      closing ??= closeWithin(server, graceMs);
      return closing;
    },
  };
}

function secureOptions({ cert, key, ca, requireClientCert }: TlsOptions) {
  return {
    cert,
    key,
    ...(ca === undefined ? {} : { ca }),
    requestCert: requireClientCert === true,
    rejectUnauthorized: requireClientCert === true,
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
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
function closeWithin(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const sweep = setInterval(() => server.closeIdleConnections(), IDLE_SWEEP_MS);
    const timer = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close(() => {
      clearInterval(sweep);
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}
