import type { DescService } from "@bufbuild/protobuf";
import {
  type ConnectRouter,
  createContextKey,
  type HandlerContext,
  type ServiceImpl,
} from "@connectrpc/connect";
import type { CallOptions } from "@nexus/rpc";
import type { Upstream } from "../domain/routes.ts";
import { type HttpGuard, type HttpMethod, serveCall } from "./serve-call.ts";

/** Address of the HTTP caller, put into the context by the adapter. */
export const peerKey = createContextKey("", { description: "address and port of the caller" });

/** A contract on the HTTP port. */
export interface HttpRoute {
  readonly desc: DescService;
  /** Undefined for what the gateway answers itself. */
  readonly upstream: Upstream | undefined;
  /** How to call its methods, by local name: a client of its owner. */
  readonly calls: object;
}

/** Serves every unary and server-streaming method as Connect, gRPC-Web and JSON, by calling its owner over gRPC.
 *
 * Bidirectional methods are left out: HTTP/1.1 cannot carry them; they are for the gRPC port. */
export function addRoutes(
  router: ConnectRouter,
  routes: readonly HttpRoute[],
  guard: HttpGuard,
): void {
  for (const { desc, upstream, calls } of routes) {
    const byName = calls as Readonly<Record<string, unknown>>;
    const handlers: Record<string, unknown> = {};
    for (const method of desc.methods) {
      const handler = handlerOf({ method, upstream }, byName[method.localName], guard);
      if (handler !== undefined) handlers[method.localName] = handler;
    }
    router.service(desc, handlers as Partial<ServiceImpl<DescService>>);
  }
}

type UnaryCall = (request: unknown, options: CallOptions) => Promise<object>;
type StreamCall = (request: unknown, options: CallOptions) => AsyncIterable<object>;

function handlerOf(target: HttpMethod, call: unknown, guard: HttpGuard): unknown {
  const { methodKind } = target.method;
  if (methodKind === "unary") return unaryHandler(target, call as UnaryCall, guard);
  if (methodKind === "server_streaming") return streamHandler(target, call as StreamCall, guard);
  return undefined;
}

function unaryHandler(target: HttpMethod, call: UnaryCall, guard: HttpGuard) {
  return async (request: unknown, context: HandlerContext) => {
    const served = serveCall(guard, target, context, context.values.get(peerKey));
    try {
      const answer = await served.run((options) => call(request, options));
      served.end();
      return answer;
    } catch (error) {
      throw served.fail(error);
    }
  };
}

function streamHandler(target: HttpMethod, call: StreamCall, guard: HttpGuard) {
  return async function* stream(request: unknown, context: HandlerContext) {
    const served = serveCall(guard, target, context, context.values.get(peerKey));
    try {
      for await (const answer of await served.run((options) => call(request, options))) {
        served.answered();
        yield answer;
      }
      served.end();
    } catch (error) {
      throw served.fail(error);
    }
  };
}
