import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { encode } from "../wire/codec.ts";
import type { ServerCall } from "./interceptor.ts";
import type { RawCall } from "./raw-relay.ts";

/** The innermost step: runs the handler and sends what it returns or yields. */
export async function invokeHandler(call: ServerCall): Promise<void> {
  const { state, plan, transport } = call;
  const input = plan.raw ? rawCall(call) : call.request;
  const result = plan.handler(input as never, state as never);
  const toBytes = encoderOf(plan.method.output, plan.raw);
  if (plan.responseStream) {
    const onLateError = (error: unknown) =>
      state.logger.warn({ err: error }, "handler failed after its call was over");
    await transport.sendAll(result as AsyncIterable<unknown>, toBytes, onLateError);
  } else {
    transport.reply(toBytes(await result));
  }
  // A handler that returns because it was told to stop did not succeed: the client learns why.
  if (state.endError !== undefined) throw state.endError;
}

function rawCall({ state, plan, transport, request }: ServerCall): RawCall {
  return {
    ctx: state,
    method: plan.method,
    metadata: state.wireMetadata,
    request: plan.requestStream ? undefined : (request as Buffer),
    requests: plan.requestStream ? (request as AsyncIterable<Buffer>) : undefined,
    sendHeader: (metadata) => transport.sendHeader(metadata),
    trailer: transport.trailer,
  };
}

function encoderOf(schema: DescMessage, raw: boolean): (value: unknown) => Buffer {
  if (raw) return (value) => value as Buffer;
  return (value) => encode(schema, value as MessageInitShape<DescMessage>);
}
