import type { CallState } from "./call-state.ts";
import type { MethodPlan } from "./method-plan.ts";
import type { ServerTransport } from "./transport.ts";

/** One call on its way through the onion. */
export interface ServerCall {
  readonly state: CallState;
  readonly plan: MethodPlan;
  readonly transport: ServerTransport;
  /** What the handler gets: set by the validate interceptor; a message, Buffer, or an iterable of those. */
  request: unknown;
  /** The decoded request, or the first one of a stream; set for audited methods by the validate interceptor. */
  seen?: unknown;
  /** The single answer, once the handler returned it. */
  answer?: unknown;
  /** True once the handler was called. */
  reached?: boolean;
  /** Set by the audit interceptor: resolves when the first message of a streamed answer may leave. */
  beforeAnswer?: () => Promise<void>;
}

/** One layer of the onion. Calls next() at most once; the promise lasts as long as the call, streams included, so
 * a layer that measures or cleans up needs no case per kind of call. */
export type Interceptor = (call: ServerCall, next: () => Promise<void>) => Promise<void>;

/** What is known of any call, also of one that came inside of another's stream. */
export type PlannedCall = Pick<ServerCall, "state" | "plan">;

/** A layer that needs no transport. */
export type PlannedLayer = (call: PlannedCall, next: () => Promise<void>) => Promise<void>;

/** Builds one function out of layers, outermost first. */
export function composeInterceptors<C>(
  layers: readonly ((call: C, next: () => Promise<void>) => Promise<void>)[],
  innermost: (call: C) => Promise<void>,
): (call: C) => Promise<void> {
  return layers.reduceRight<(call: C) => Promise<void>>(
    (inner, layer) => (call) => layer(call, () => inner(call)),
    innermost,
  );
}
