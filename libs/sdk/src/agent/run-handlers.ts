import type { InboundMessage, MessageContext, MessageHandler } from "./messages.ts";
import { isThenable } from "./thenable.ts";

/** Runs all handlers of a message. Returns a promise only when one of them has to be waited for.
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
