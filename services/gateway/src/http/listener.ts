import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { createConnectRouter, createContextValues } from "@connectrpc/connect";
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import { addressOfPeer, ERROR_KINDS, NexusError } from "@nexus/shared";
import { callerBehind, type TrustedProxies } from "../domain/forwarded.ts";
import { headersOf, toErrorJson } from "./connect-errors.ts";
import { addRoutes, type HttpRoute, peerKey } from "./connect-routes.ts";
import { explainRefusal } from "./refusals.ts";
import { ENVELOPE_BYTES, limitBody } from "./request-body.ts";
import type { HttpGuard } from "./serve-call.ts";

declare global {
  /** The declarations of @connectrpc/connect name this DOM type, which Node's own types leave out. */
  type HeadersInit = NonNullable<ConstructorParameters<typeof Headers>[0]>;
}

/** What the HTTP port answers with. */
export interface ListenerOptions {
  readonly routes: readonly HttpRoute[];
  readonly guard: HttpGuard;
  readonly messageMaxBytes: number;
  readonly proxies: TrustedProxies;
  /** Reads vault's public keys, for GET /.well-known/jwks.json. */
  readonly readKeys: () => Promise<{ readonly json: string; readonly maxAgeSeconds: number }>;
}

/** Longest time a caller may give a call. */
const TIMEOUT_MS_MAX = 3_600_000;
const JWKS_PATH = "/.well-known/jwks.json";

type Router = ReturnType<typeof createConnectRouter>;
type Handler = Router["handlers"][number];

/** Creates the function that answers every HTTP request: Connect, gRPC-Web and JSON for the public contracts, and the
 * keys that verify tokens. Everything else is 404. It neither throws nor rejects: a request that it cannot even look
 * at is answered 400. */
export function createListener(options: ListenerOptions): RequestListener {
  const handlers = createHandlers(options);
  return (request, response) => {
    void answer(request, response).catch((error: unknown) => {
      options.guard.logger.debug({ err: error }, "an HTTP answer was not written");
      response.destroy();
    });
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = ""] = (request.url ?? "").split("?", 1);
    const handler = handlers.get(path);
    if (handler !== undefined) await answerCall(handler, request, response);
    else if (path === JWKS_PATH) await answerKeys(request, response);
    else sendError(response, 404, noSuchPath());
  }

  async function answerCall(handler: Handler, request: IncomingMessage, response: ServerResponse) {
    const call = tryReadRequest(request, response, callerOf(request, options.proxies));
    if (call === undefined) return sendError(response, 400, unreadable());
    // Told a length, the library would set that much memory aside before the first byte came.
    call.header.delete("content-length");
    // HTTP/2 has no such header: there the rest of the body ends with its stream.
    const closeAfter = () => {
      if (request.httpVersionMajor < 2) response.setHeader("connection", "close");
    };
    const body = limitBody(
      call.body as AsyncIterable<Uint8Array>,
      options.messageMaxBytes + ENVELOPE_BYTES,
      closeAfter,
    );
    const answered = await explainRefusal(await handler({ ...call, body }));
    await universalResponseToNodeResponse(answered, response);
  }

  async function answerKeys(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { limits, events } = options.guard;
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      return sendError(response, 405, noSuchPath());
    }
    try {
      limits.count(undefined, addressOfPeer(callerOf(request, options.proxies)));
      const { json, maxAgeSeconds } = await options.readKeys();
      response.setHeader("cache-control", `public, max-age=${maxAgeSeconds}`);
      sendJson(response, 200, json);
    } catch (cause) {
      const limited = NexusError.is(cause, "exhausted");
      if (!limited) events.keysUnavailable(cause);
      const error = limited ? cause : keysAway(cause);
      sendError(response, ERROR_KINDS[error.kind].httpStatus, error);
    }
  }
}

function createHandlers({ routes, guard, messageMaxBytes }: ListenerOptions) {
  const router = createConnectRouter({
    grpc: false,
    readMaxBytes: messageMaxBytes + ENVELOPE_BYTES,
    maxTimeoutMs: TIMEOUT_MS_MAX,
    acceptCompression: [compressionGzip, compressionBrotli],
    // A field that nobody knows is a misspelt one: without this it would be dropped, and a job run without its timeout.
    jsonOptions: { ignoreUnknownFields: false },
  });
  addRoutes(router, routes, guard);
  return new Map<string, Handler>(router.handlers.map((one) => [one.requestPath, one]));
}

/** As a gRPC peer is written: who wants the host alone cuts the port off, of IPv6 too. */
function callerOf({ socket, headers }: IncomingMessage, proxies: TrustedProxies): string {
  const { remoteAddress = "", remotePort = 0 } = socket;
  const said = headers[proxies.header];
  const peer = { address: remoteAddress, port: remotePort };
  const { address, port } = callerBehind(peer, Array.isArray(said) ? said.join() : said, proxies);
  return `${address}:${port}`;
}

/** Returns undefined for a request whose target is no address, e.g. without a Host header. */
function tryReadRequest(request: IncomingMessage, response: ServerResponse, caller: string) {
  const values = createContextValues().set(peerKey, caller);
  try {
    return universalRequestFromNodeRequest(request, response, undefined, values);
  } catch {
    // Whatever makes it unreadable, the answer is the same, and nothing was begun that had to be undone.
    return undefined;
  }
}

function sendError(response: ServerResponse, status: number, error: NexusError): void {
  for (const [name, value] of Object.entries(headersOf(error))) response.setHeader(name, value);
  sendJson(response, status, toErrorJson(error));
}

function sendJson(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(body);
}

function noSuchPath(): NexusError {
  return new NexusError({
    kind: "unimplemented",
    reason: "METHOD_NOT_FOUND",
    message: "There is nothing at this path.",
  });
}

function unreadable(): NexusError {
  return new NexusError({
    kind: "invalid",
    reason: "REQUEST_MALFORMED",
    message: "The request has no readable host or path.",
  });
}

function keysAway(cause: unknown): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "UNAVAILABLE",
    message: "The keys cannot be fetched at the moment.",
    cause,
  });
}
