/** @nexus/audit: entries of the audit log: what is kept of a call, and the outbox in which a service commits it. */
export { type Auditor, type AuditorOptions, createAuditor, type EnterDraft } from "./auditor.ts";
export { BACKLOG_MAX, type Backlog, createBacklog } from "./backlog.ts";
export {
  auditUnavailable,
  createDraftWriter,
  type DraftWriter,
  ENTER_DEADLINE_MS,
  insertDrafts,
} from "./draft-writer.ts";
export { describeDraft, type EntryFacts, finishDraft, tryReadEntry } from "./entry.ts";
export {
  ENTRY_BYTES_MAX,
  type EntryProblem,
  encodeQuarantineNotice,
  findEntryProblem,
  type RefusedEntry,
} from "./quarantine.ts";
export { keepRefusalAudit, type RefusalAuditOptions } from "./refusal-audit.ts";
export {
  type AuditHost,
  type AuditLoop,
  keepServiceAudit,
  type ServiceAuditOptions,
} from "./service-audit.ts";
export { formatDigest, type HashValue } from "./summary.ts";
