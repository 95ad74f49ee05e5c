/** Mutations of one job that are idempotent by their request id. */
import type { Queryable } from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import type { AuditLeaf } from "../domain/job.ts";
import {
  type EarlierRequest,
  enterLeaves,
  type RequestMethod,
  recordRequests,
  requestKey,
} from "../store/request-store.ts";

/** Who asks for what, on which job. */
export interface JobOrder {
  readonly namespace: string;
  readonly principalId: string;
  readonly requestId: string;
  readonly bodyHash: Uint8Array;
  readonly jobId: string;
  readonly leaf?: AuditLeaf | undefined;
}

/** Records a request in the transaction that serves it, with its entry in the audit log; returns the earlier one when this is its
 * repeat. Of a repeat the entry is left to the server, as of any call that changes nothing; of a first one the caller says
 * that it is stored, after the commit.
 *
 * Errors: conflict/REQUEST_ID_REUSED when the id was used for anything else. */
export async function recordOnce(
  client: Queryable,
  method: RequestMethod,
  order: JobOrder,
): Promise<EarlierRequest | undefined> {
  const { namespace, principalId, requestId, bodyHash, jobId, leaf } = order;
  const entryId = leaf?.entryId;
  const record = { namespace, principalId, requestId, method, bodyHash, jobId, entryId };
  const earlier = (await recordRequests(client, [record])).get(requestKey(record));
  if (earlier === undefined) {
    await enterLeaves(client, [leaf]);
    return undefined;
  }
  noteOwn(earlier, leaf);
  if (earlier.method === method && Buffer.compare(earlier.bodyHash, bodyHash) === 0) return earlier;
  throw new NexusError({
    kind: "conflict",
    reason: "REQUEST_ID_REUSED",
    message: "The request id was used before with another body.",
  });
}

/** Of a request that was made by this very call, in a transaction that did not learn of its commit, the entry is stored with it. */
export function noteOwn({ entryId }: EarlierRequest, leaf: AuditLeaf | undefined): void {
  if (leaf !== undefined && leaf.entryId === entryId) leaf.stored();
}

/** Returns whether what failed with this error may have been committed all the same. */
export function mayBeStored(error: unknown): boolean {
  return NexusError.is(error, "unavailable", "COMMIT_OUTCOME_UNKNOWN");
}
