import { type Context, context } from "@opentelemetry/api";
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
  /** What the call's span continues. Default: the parent call's; without one, whatever the process's own tracing says. */
  readonly traceContext?: Context | undefined;
}

/** Passes the served call on: its token, its signal, its remaining time and its trace. */
export function callOptions(ctx: CallContext): CallOptions {
  return { parent: ctx, token: ctx.token };
}

/** Header in which who passes a call on says where it came from. It counts from the certificate of the gateway, and of the
 * owner's other replicas: anybody can write one. */
export const CLIENT_ADDRESS_HEADER = "nexus-client-address";

/** As callOptions(), for who passes the very call on, the gateway or another replica: its caller's address goes along. */
export function relayOptions(ctx: CallContext): CallOptions {
  return { ...callOptions(ctx), metadata: clientAddressMetadata(ctx.peer) };
}

/** What says where a call came from: `address:port`. */
export function clientAddressMetadata(address: string): Readonly<Record<string, string>> {
  return { [CLIENT_ADDRESS_HEADER]: address };
}

/** Returns what the call's span continues. NEXUS services pass it on by hand; a user's process may have it follow its async
 * calls, which is its own choice and cost. */
export function traceContextOf({ traceContext, parent }: CallOptions): Context {
  return traceContext ?? parent?.traceContext ?? context.active();
}
