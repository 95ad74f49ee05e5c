import type { CallContext } from "../call-context.ts";

/** How one outgoing call behaves. */
export interface CallOptions {
  /** Milliseconds until the call fails with DEADLINE_EXCEEDED. Unary default: the client's `timeoutMs`; streams
   * have none unless it is given. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Bearer token; wins over the client's TokenSource. */
  readonly token?: string | undefined;
  /** Extra request headers. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** The call being served: its signal ends this one, and its remaining time less DEADLINE_MARGIN_MS bounds it. */
  readonly parent?: CallContext | undefined;
}

/** Passes the served call on: its token, its signal and its remaining time. */
export function callOptions(ctx: CallContext): CallOptions {
  return { parent: ctx, token: ctx.token };
}
