import type { DescMethod, DescService } from "@bufbuild/protobuf";
import {
  type ConnectRouter,
  createContextKey,
  type HandlerContext,
  type ServiceImpl,
} from "@connectrpc/connect";
import { type CallOptions, createRpcClient, type RpcChannel } from "@nexus/rpc";
import type { Admission } from "./admission.ts";
import { toConnectError } from "./connect-errors.ts";

/** Address of the HTTP caller, put into the context by the adapter. */
export const peerKey = createContextKey("", { description: "address of the caller" });

/** Longest an HTTP call may take; streams are opened again by their clients with a resume token. */
const UNARY_TIMEOUT_MS = 30_000;

/** A contract and the channel to its owner. */
export interface HttpRoute {
  readonly desc: DescService;
  readonly channel: RpcChannel;
}

/** Serves every unary and server-streaming method as Connect, gRPC-Web and JSON, by calling its owner over gRPC.
 *
 * Bidirectional methods are left out: HTTP/1.1 cannot carry them; they are for the gRPC port. */
export function addRoutes(
  router: ConnectRouter,
  routes: readonly HttpRoute[],
  admission: Admission,
): void {
  for (const { desc, channel } of routes) {
    const client = createRpcClient(desc, channel) as unknown as Record<string, AnyMethod>;
    const handlers: Record<string, unknown> = {};
    for (const method of desc.methods) {
      const call = client[method.localName];
      const handler = call === undefined ? undefined : handlerOf(method, call, admission);
      if (handler !== undefined) handlers[method.localName] = handler;
    }
    router.service(desc, handlers as Partial<ServiceImpl<DescService>>);
  }
}

type AnyMethod = (request: never, options: CallOptions) => unknown;
type UnaryMethod = (request: unknown, options: CallOptions) => Promise<object>;
type StreamMethod = (request: unknown, options: CallOptions) => AsyncIterable<object>;

function handlerOf(method: DescMethod, call: AnyMethod, admission: Admission) {
  if (method.methodKind === "unary") return unaryHandler(method, call as UnaryMethod, admission);
  if (method.methodKind === "server_streaming") {
    return streamHandler(method, call as StreamMethod, admission);
  }
  return undefined;
}

function unaryHandler(method: DescMethod, call: UnaryMethod, admission: Admission) {
  return async (request: unknown, context: HandlerContext) => {
    try {
      const token = await admit(method, context, admission);
      const timeoutMs = Math.min(context.timeoutMs() ?? UNARY_TIMEOUT_MS, UNARY_TIMEOUT_MS);
      return await call(request, { token, timeoutMs, signal: context.signal });
    } catch (error) {
      throw toConnectError(error);
    }
  };
}

function streamHandler(method: DescMethod, call: StreamMethod, admission: Admission) {
  return async function* stream(request: unknown, context: HandlerContext) {
    try {
      const token = await admit(method, context, admission);
      yield* call(request, { token, signal: context.signal, timeoutMs: context.timeoutMs() });
    } catch (error) {
      throw toConnectError(error);
    }
  };
}

async function admit(method: DescMethod, context: HandlerContext, admission: Admission) {
  const authorization = context.requestHeader.get("authorization");
  const { token } = await admission({ method, authorization, peer: context.values.get(peerKey) });
  return token;
}
