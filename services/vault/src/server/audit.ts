import { createHash } from "node:crypto";
import type { DescMethod } from "@bufbuild/protobuf";
import {
  type Auditor,
  type Backlog,
  createAuditor,
  createBacklog,
  createDraftWriter,
  describeDraft,
  encodeQuarantineNotice,
  findEntryProblem,
  finishDraft,
  formatDigest,
} from "@nexus/audit";
import type { Pool } from "@nexus/postgres";
import { AuthService, SealService } from "@nexus/proto/vault";
import type { ServiceFrame } from "@nexus/runtime";
import type { VaultConfig } from "../config.ts";
import type { JudgeEntry } from "../domain/audit/audit-entries.ts";
import { AuditFeed } from "../domain/audit/audit-feed.ts";
import { AuditLog, type AuditLogEvents, type EntryFormat } from "../domain/audit/audit-log.ts";
import { AuditSigner } from "../domain/audit/audit-signer.ts";
import type { CryptoManager } from "../domain/crypto-manager.ts";
import type { BoxStore } from "../domain/sealed-box.ts";
import { createAuditStore } from "../store/audit-store.ts";

/** How the contract encodes an entry. */
const ENTRY_FORMAT: EntryFormat = { finish: finishDraft, describe: describeDraft };

const judgeEntry: JudgeEntry = ({ draft, ...told }) => {
  const problem = findEntryProblem(told.service, { draft, ...told });
  if (problem === undefined) return undefined;
  const digest = createHash("sha256").update(draft).digest();
  const refused = { ...told, draft, digest, sizeBytes: draft.byteLength, problem };
  return { problem, notice: encodeQuarantineNotice("vault", refused) };
};

/** What the audit log is made of. */
export interface AuditOptions {
  readonly pool: Pool;
  readonly crypto: CryptoManager;
  readonly boxes: BoxStore;
  readonly events: AuditLogEvents;
  readonly backlog: Backlog;
}

/** Served however many entries wait: what gets the log going again must not wait for it. */
const ALWAYS_SERVED: ReadonlySet<DescMethod> = new Set([
  ...SealService.methods,
  AuthService.method.login,
]);

/** What keeps the entries of vault's own calls. The log takes them from the outbox, which fills up only while the log stands still:
 * sealed, or tampered with. When it is full, calls are refused as by any other service. */
export function createVaultAuditor(
  frame: ServiceFrame,
  { pool, crypto }: Pick<AuditOptions, "pool" | "crypto">,
): { readonly auditor: Auditor; readonly backlog: Backlog } {
  const writer = createDraftWriter(pool);
  const backlog = createBacklog(pool);
  frame.defer("audit entries", () => writer.close());
  frame.metrics.gauge({
    name: "audit_entries_waiting",
    help: "Entries of the audit log that have no place in it yet.",
    read: () => backlog.waiting,
  });
  const auditor = createAuditor({
    service: "vault",
    enter: writer.enter,
    assertRoom: ({ ctx }) => {
      if (!ALWAYS_SERVED.has(ctx.method)) backlog.assertRoom();
    },
    hash: (value) => crypto.tryDigest("audit-field", value),
  });
  return { auditor, backlog };
}

/** The audit log of all services. */
export function createAuditLog(config: VaultConfig, options: AuditOptions) {
  const { pool, crypto, boxes, events, backlog } = options;
  const auditStore = createAuditStore(pool);
  const auditSigner = new AuditSigner(config.auditOrigin, { crypto, boxes });
  return {
    auditStore,
    auditSigner,
    auditLog: new AuditLog({
      store: auditStore,
      signer: auditSigner,
      format: ENTRY_FORMAT,
      events,
    }),
    auditFeed: new AuditFeed(auditStore),
    digestName: (name: string) => formatDigest(crypto.tryDigest("audit-field", name)),
    judgeEntry,
    auditEvents: events,
    assertAuditRoom: () => backlog.assertRoom(),
    hearBacklog: (waiting: number) => backlog.hear(waiting),
  };
}
