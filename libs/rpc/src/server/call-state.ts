import type { DescMethod } from "@bufbuild/protobuf";
import type { Metadata } from "@grpc/grpc-js";
import { type Logger, NexusError } from "@nexus/shared";
import { type Context, ROOT_CONTEXT } from "@opentelemetry/api";
import type { AuditRecord } from "../audit.ts";
import type { CallContext, ReadonlyMetadata } from "../call-context.ts";
import type { Principal } from "../principal.ts";
import type { MethodPlan } from "./method-plan.ts";

/** The fixed facts of one call, known when it arrives. */
export interface CallInit {
  readonly service: string;
  readonly plan: MethodPlan;
  readonly metadata: Metadata;
  readonly deadlineAtMs: number | undefined;
  readonly peer: string;
  readonly logger: Logger;
}

/** The context of one call: what handlers read and interceptors fill. Owns the call's abort signal. */
export class CallState implements CallContext {
  readonly service: string;
  readonly plan: MethodPlan;
  readonly wireMetadata: Metadata;
  readonly metadata: ReadonlyMetadata;
  /** Set anew by the admit-peer interceptor. */
  peer: string;
  deadlineAtMs: number | undefined;
  principal: Principal | undefined;
  token: string | undefined;
  /** Set by the audit interceptor. */
  audit: AuditRecord | undefined;
  /** Set by the trace interceptor. */
  traceId: string | undefined;
  /** Set by the trace interceptor. */
  traceContext: Context = ROOT_CONTEXT;
  /** Set by the authenticate interceptor. */
  swapToken: ((token: string) => Promise<Principal>) | undefined;
  #controller: AbortController | undefined;
  readonly #baseLogger: Logger;
  #logger: Logger | undefined;
  #onEnd: ((error: NexusError) => void) | undefined;
  #endError: NexusError | undefined;

  constructor(init: CallInit) {
    this.service = init.service;
    this.plan = init.plan;
    this.wireMetadata = init.metadata;
    this.metadata = readonlyMetadata(init.metadata);
    this.deadlineAtMs = init.deadlineAtMs;
    this.peer = init.peer;
    this.#baseLogger = init.logger;
  }

  get method(): DescMethod {
    return this.plan.method;
  }

  /** Made at first use: most handlers never look. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#endError !== undefined) this.#controller.abort(this.#endError);
    }
    return this.#controller.signal;
  }

  /** Says whether a line of this level would be written, without making the call's logger. */
  isLogging(level: "debug" | "info"): boolean {
    return this.#baseLogger.isLevelEnabled(level);
  }

  /** Made at first use: most calls never log. */
  get logger(): Logger {
    this.#logger ??= this.#baseLogger.child({
      method: this.plan.path,
      ...(this.traceId === undefined ? {} : { trace_id: this.traceId }),
      ...(this.principal === undefined
        ? {}
        : { namespace: this.principal.namespace, principal_id: this.principal.principalId }),
    });
    return this.#logger;
  }

  /** The error that ended the call from outside the handler, if one did. */
  get endError(): NexusError | undefined {
    return this.#endError;
  }

  /** Ends the call from outside the handler: aborts the signal now, and fails the call with `error` after
   * `lingerMs`, unless the handler returns before. The first end wins, except that a later one without linger
   * cuts the linger of an earlier one short. */
  end(error: NexusError, lingerMs = 0): void {
    const first = this.#endError === undefined;
    if (first) {
      this.#endError = error;
      this.#controller?.abort(error);
    }
    if (lingerMs === 0) this.#onEnd?.(this.#endError ?? error);
    else if (first) setTimeout(() => this.#onEnd?.(error), lingerMs).unref();
  }

  /** Calls `fn` when the call has to fail because of end(). One listener: the deadline interceptor. */
  onEnd(fn: (error: NexusError) => void): void {
    this.#onEnd = fn;
    if (this.#endError !== undefined) fn(this.#endError);
  }

  async reauthenticate(token: string): Promise<Principal> {
    if (this.swapToken === undefined) {
      throw new NexusError({
        kind: "precondition",
        reason: "REAUTH_UNSUPPORTED",
        message: "This method takes no token, so there is none to replace.",
      });
    }
    return this.swapToken(token);
  }
}

function readonlyMetadata(metadata: Metadata): ReadonlyMetadata {
  return {
    get: (name) => metadata.get(name).find((value) => typeof value === "string"),
    getBinary: (name) => metadata.get(name).find((value) => Buffer.isBuffer(value)),
  };
}
