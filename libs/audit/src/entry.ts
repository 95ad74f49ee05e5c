import { type AuditEntry, AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import { decodeMessage, encodeMessage } from "@nexus/rpc";

/** What the log's index knows of an entry. Empty texts where an entry says nothing, or cannot be read. */
export interface EntryFacts {
  readonly service: string;
  readonly action: string;
  readonly namespace: string;
  readonly actor: string;
  readonly resource: string;
  /** As the contract numbers them; 0 for an entry that cannot be read. */
  readonly result: number;
}

const MICROS_PER_SECOND = 1_000_000n;
const UNREADABLE: EntryFacts = {
  service: "",
  action: "",
  namespace: "",
  actor: "",
  resource: "",
  result: AuditResult.UNSPECIFIED,
};

/** Reads an entry; undefined for bytes that are none. */
export function tryReadEntry(leaf: Uint8Array): AuditEntry | undefined {
  try {
    return decodeMessage(AuditEntrySchema, leaf);
  } catch {
    return undefined;
  }
}

/** Reads what the log's index holds of a draft. Never fails: what somebody wrote past the service is logged, too. */
export function describeDraft(draft: Uint8Array): EntryFacts {
  const entry = tryReadEntry(draft);
  if (entry === undefined) return UNREADABLE;
  const { service, action, namespace, actor, resource, result } = entry;
  return { service, action, namespace, actor, resource, result };
}

/** Makes a leaf of a draft: adds its place and its time. The draft's bytes stay as they are; what stands behind them wins,
 * should a draft name a place of its own. */
export function finishDraft(draft: Uint8Array, index: number, timeUs: bigint): Buffer {
  const time = {
    seconds: timeUs / MICROS_PER_SECOND,
    nanos: Number(timeUs % MICROS_PER_SECOND) * 1000,
  };
  return Buffer.concat([draft, encodeMessage(AuditEntrySchema, { index: BigInt(index), time })]);
}
