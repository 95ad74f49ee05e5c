import type { DescMethod } from "@bufbuild/protobuf";
import {
  type CallContext,
  callOptions,
  type RawCall,
  type RawRelay,
  type RpcChannel,
  rawStream,
  rawUnary,
} from "@nexus/rpc";

/** Passes calls on as bytes to the service that owns the contract.
 *
 * The interceptors before it have authenticated and authorised the caller; the caller's own token goes along, and
 * the owner checks it again. Payloads are never decoded: fields this build does not know pass through unharmed.
 * Errors of the owner reach the caller with their details as they are. */
export function createRelay(channel: RpcChannel, admit: (ctx: CallContext) => void): RawRelay {
  return (call) => {
    admit(call.ctx);
    const options = callOptions(call.ctx);
    if (call.method.methodKind === "unary") {
      return rawUnary(channel, pathOf(call.method), requestOf(call), options);
    }
    return rawStream(channel, call.method, call.requests ?? requestOf(call), options);
  };
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function requestOf(call: RawCall): Buffer {
  return call.request ?? Buffer.alloc(0);
}
