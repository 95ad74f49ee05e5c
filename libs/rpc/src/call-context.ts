import type { DescMethod } from "@bufbuild/protobuf";
import type { Logger } from "@nexus/shared";
import type { Context } from "@opentelemetry/api";
import type { AuditRecord } from "./audit.ts";
import type { Principal } from "./principal.ts";

/** Request metadata as a handler may see it. */
export interface ReadonlyMetadata {
  /** First text value of a header, lower-case name; undefined when absent or binary. */
  get(name: string): string | undefined;
  /** First value of a `-bin` header. */
  getBinary(name: string): Buffer | undefined;
}

/** What a handler knows about the call it serves. */
export interface CallContext {
  /** Name of the serving NEXUS service, e.g. `vault`. */
  readonly service: string;
  readonly method: DescMethod;
  readonly metadata: ReadonlyMetadata;
  /** Aborts when the call ends early: client gone, deadline, token ended, server draining. `reason` is the
   * NexusError that the client gets. */
  readonly signal: AbortSignal;
  /** Epoch milliseconds; undefined for a stream without one. */
  readonly deadlineAtMs: number | undefined;
  /** The verified caller; undefined only in `public` methods. */
  readonly principal: Principal | undefined;
  /** The bearer token of the call, to act on the caller's behalf. Never log it. */
  readonly token: string | undefined;
  /** Holds the call's span: the parent of what is done for the call. Passed on by callOptions(), never ambient. */
  readonly traceContext: Context;
  /** Carries method, trace and principal in every line. */
  readonly logger: Logger;
  /** The entry that this call leaves in the audit log; undefined for methods that leave none. */
  readonly audit: AuditRecord | undefined;
  /** Address of the connection's other end; of a call that the gateway passed on, and proved itself by its certificate, the
   * address that it had the call from. */
  readonly peer: string;
  /** Swaps the token whose end ends the stream, for another of the same principal that also holds the scope.
   *
   * Errors: unauthenticated when the token does not verify; forbidden/PRINCIPAL_MISMATCH when it speaks for
   * somebody else; forbidden/SCOPE_MISSING. The old token stays in force then. */
  reauthenticate(token: string): Promise<Principal>;
}
