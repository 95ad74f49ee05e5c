import type { NexusError } from "@nexus/shared";
import type { AuditRecord } from "./audit.ts";
import type { CallContext } from "./call-context.ts";

/** The entry of one call, as the server sees to it. */
export interface CallRecord extends AuditRecord {
  /** Resolves when the call's entry is durable; writes it if no transaction did. Idempotent.
   * Errors: unavailable/AUDIT_UNAVAILABLE within the auditor's deadline. */
  allowed(): Promise<void>;
  /** Enters that the call failed. `reached`: the handler had begun. Errors: as allowed(). */
  refused(error: NexusError, reached: boolean): Promise<void>;
}

/** What an auditor may know of a call. */
export interface AuditedCall {
  readonly ctx: Pick<CallContext, "method" | "peer" | "principal">;
  readonly traceId: string | undefined;
  /** The decoded request; the first one of a stream; undefined before it was decoded and found valid. */
  request(): unknown;
  /** The answer, of a call with a single one; undefined before there is one. */
  answer(): unknown;
}

/** Keeps the entries of calls of audited methods. */
export interface CallAuditor {
  /** Begins the record of a call, before its caller is known. Errors: unavailable/AUDIT_UNAVAILABLE when it is known beforehand
   * that the entry could not be written. */
  begin(call: AuditedCall): CallRecord;
}
