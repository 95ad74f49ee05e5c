import type { StatusService } from "@nexus/proto/gateway";
import type { RpcChannel, ServiceImplementation } from "@nexus/rpc";
import { createGetStatus } from "./get-status.ts";

/** What the handlers need. */
export interface HandlerDeps {
  /** A channel per service behind the gateway, by its name. */
  readonly upstreams: ReadonlyMap<string, RpcChannel>;
}

/** Every RPC that the gateway answers itself. */
export function createStatusHandlers(
  deps: HandlerDeps,
): ServiceImplementation<typeof StatusService> {
  return { getStatus: createGetStatus(deps.upstreams) };
}
