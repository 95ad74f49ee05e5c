import {
  type Auditor,
  createAuditor,
  createDraftWriter,
  describeDraft,
  finishDraft,
  formatDigest,
} from "@nexus/audit";
import type { Pool } from "@nexus/postgres";
import type { ServiceFrame } from "@nexus/runtime";
import type { VaultConfig } from "../config.ts";
import { AuditFeed } from "../domain/audit/audit-feed.ts";
import { AuditLog, type AuditLogEvents, type EntryFormat } from "../domain/audit/audit-log.ts";
import { AuditSigner } from "../domain/audit/audit-signer.ts";
import type { CryptoManager } from "../domain/crypto-manager.ts";
import type { BoxStore } from "../domain/sealed-box.ts";
import { createAuditStore } from "../store/audit-store.ts";

/** How the contract encodes an entry. */
const ENTRY_FORMAT: EntryFormat = { finish: finishDraft, describe: describeDraft };

/** What the audit log is made of. */
export interface AuditOptions {
  readonly pool: Pool;
  readonly crypto: CryptoManager;
  readonly boxes: BoxStore;
  readonly events: AuditLogEvents;
}

/** What keeps the entries of vault's own calls. */
export function createVaultAuditor(
  frame: ServiceFrame,
  { pool, crypto }: Pick<AuditOptions, "pool" | "crypto">,
): Auditor {
  const writer = createDraftWriter(pool);
  frame.defer("audit entries", () => writer.close());
  return createAuditor({
    service: "vault",
    enter: writer.enter,
    hash: (value) => crypto.tryDigest("audit-field", value),
  });
}

/** The audit log of all services. */
export function createAuditLog(config: VaultConfig, options: AuditOptions) {
  const { pool, crypto, boxes, events } = options;
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
    describeDraft,
  };
}
