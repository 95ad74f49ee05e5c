import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { encode } from "../wire/codec.ts";
import type { ServerCall } from "./interceptor.ts";
import type { RawCall } from "./raw-relay.ts";

/** The innermost step: runs the handler and sends what it returns or yields. */
export async function invokeHandler(call: ServerCall): Promise<void> {
  const { state, plan, transport } = call;
  const input = plan.raw ? rawCall(call) : call.request;
  call.reached = true;
  const result = plan.handler(input as never, state as never);
  const toBytes = encoderOf(plan.method.output, plan.raw);
  if (plan.responseStream) {
    const onLateError = (error: unknown) =>
      state.logger.warn({ err: error }, "handler failed after its call was over");
    const answers = result as AsyncIterable<unknown>;
    const source = call.beforeAnswer === undefined ? answers : after(call.beforeAnswer, answers);
    await transport.sendAll(source, toBytes, onLateError);
  } else {
    call.answer = await result;
    transport.reply(toBytes(call.answer));
  }
  // A handler that returns because it was told to stop did not succeed: the client learns why.
  if (state.endError !== undefined) throw state.endError;
}

/** Passes messages on, the first one not before what it has to wait for. */
async function* after<T>(wait: () => Promise<void>, source: AsyncIterable<T>): AsyncGenerator<T> {
  let waited = false;
  for await (const value of source) {
    if (!waited) await wait();
    waited = true;
    yield value;
  }
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
