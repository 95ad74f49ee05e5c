import { byteaArray, type Pool, type Queryable } from "@nexus/postgres";
import { createBatcher, NexusError, withDeadline } from "@nexus/shared";
import type { EnterDraft } from "./auditor.ts";

/** Drafts that one commit stores. */
const BATCH_MAX = 256;
const QUEUE_MAX = 4096;
const CONCURRENCY = 2;
/** How long a call waits for its entry; then it is answered UNAVAILABLE. */
export const ENTER_DEADLINE_MS = 2000;

/** The id and the moment of a row are the database's: see the migration of any service. */
const INSERT = "INSERT INTO audit_outbox (draft) SELECT * FROM unnest($1::bytea[])";

/** Stores drafts in the transaction of the client, in one statement. */
export async function insertDrafts(
  client: Queryable,
  drafts: readonly Uint8Array[],
): Promise<void> {
  if (drafts.length === 0) return;
  const values = [byteaArray(drafts)];
  await client.query({ name: "audit-insert-drafts", text: INSERT, values });
}

/** Stores drafts that have no transaction of their own. */
export interface DraftWriter {
  /** Errors: unavailable/AUDIT_UNAVAILABLE after ENTER_DEADLINE_MS at the latest. */
  readonly enter: EnterDraft;
  /** Finishes what waits. */
  close(): Promise<void>;
}

/** Creates the writer of a service's outbox. Drafts that wait at the same time share a commit. */
export function createDraftWriter(pool: Pool, deadlineMs = ENTER_DEADLINE_MS): DraftWriter {
  const batcher = createBatcher<Uint8Array, undefined>({
    name: "audit entry",
    maxItems: BATCH_MAX,
    maxDelayMs: 0,
    maxQueued: QUEUE_MAX,
    concurrency: CONCURRENCY,
    async flush(drafts) {
      await insertDrafts(pool, drafts);
      return drafts.map(() => undefined);
    },
  });
  return {
    async enter(draft) {
      try {
        await withDeadline(batcher.add(draft), deadlineMs);
      } catch (error) {
        throw auditUnavailable(error);
      }
    },
    close: () => batcher.close(),
  };
}

/** The answer to every call whose entry cannot be written. */
export function auditUnavailable(cause: unknown): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "AUDIT_UNAVAILABLE",
    message: "The audit log cannot be written at the moment, so the call was not answered.",
    cause,
  });
}
