import type { InboundMessage, MessageContext, MessageHandler } from "./messages.ts";

/** Runs all handlers of a message. Returns a promise only when one of them has to be waited for: most have nothing to wait for, and promises
 * for each of a frame's hundreds of messages cost more than the messages.
 *
 * Errors: what a handler throws, at once or by the promise; the others run all the same. */
export function runHandlers(
  handlers: readonly MessageHandler[],
  message: InboundMessage,
  ctx: MessageContext,
): Promise<void> | undefined {
  const [only] = handlers;
  if (only !== undefined && handlers.length === 1) {
    const result = only(message, ctx);
    return isThenable(result) ? untilDone(result) : undefined;
  }
  return untilDone(Promise.all(handlers.map(async (handler) => handler(message, ctx))));
}

async function untilDone(result: PromiseLike<unknown>): Promise<void> {
  await result;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  if (typeof value !== "object" && typeof value !== "function") return false;
  return value !== null && "then" in value && typeof value.then === "function";
}
