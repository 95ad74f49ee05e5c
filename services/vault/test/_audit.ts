/** What tests of the audit log share. */
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { tryReadEntry } from "@nexus/audit";
import {
  isSignedBy,
  LogJudge,
  type LogVerdict,
  type TrustedCheckpoint,
  tryParseCheckpoint,
  tryParseNoteKey,
} from "@nexus/merkle";
import type { Pool } from "@nexus/postgres";
import { type AuditEntry, AuditEntrySchema } from "@nexus/proto/common";
import type { AuditFilterSchema, ExportEntriesResponse } from "@nexus/proto/vault";
import { waitFor } from "@nexus/testkit";
import type { Replica, Session } from "./_helpers.ts";

export const ACTION = (service: string, method: string) => `nexus.vault.v1.${service}/${method}`;

/** Waits until everything committed before has its place. */
export async function sequenced(pool: Pool): Promise<void> {
  await waitFor(async () => (await pool.query("SELECT FROM audit_outbox LIMIT 1")).rowCount === 0, {
    what: "the audit entries to get their places",
  });
}

/** Entries with a filter, the newest first. */
export async function entriesOf(
  { audit }: Replica,
  caller: Session,
  filter: MessageInitShape<typeof AuditFilterSchema> = {},
): Promise<AuditEntry[]> {
  const { entries } = await audit.listEntries({ filter, page: { pageSize: 1000 } }, caller);
  return entries.map(({ leaf }) => fromBinary(AuditEntrySchema, leaf));
}

/** The kept fields of an entry by name. */
export function fieldsOf(entry: AuditEntry | undefined): Record<string, string> {
  return Object.fromEntries((entry?.fields ?? []).map(({ name, value }) => [name, value]));
}

/** Everything that an export says. */
export interface Exported {
  readonly key: string;
  readonly checkpoints: readonly string[];
  readonly frames: readonly ExportEntriesResponse[];
}

export async function exported({ audit }: Replica, caller: Session): Promise<Exported> {
  const frames: ExportEntriesResponse[] = [];
  for await (const frame of audit.exportEntries({}, { ...caller, timeoutMs: 10_000 })) {
    frames.push(frame);
  }
  const start = frames[0]?.frame;
  if (start?.case !== "start") throw new Error("an export has a start");
  return { ...start.value, frames: frames.slice(1) };
}

/** Judges an export as an offline verifier does; `trusted` are notes that somebody kept. */
export function judge(
  { key, checkpoints, frames }: Exported,
  trusted: readonly string[] = [],
): LogVerdict {
  const pinned = tryParseNoteKey(key);
  if (pinned === undefined) throw new Error("an export has a key");
  const read = (note: string, source: TrustedCheckpoint["source"]): TrustedCheckpoint => {
    const checkpoint = tryParseCheckpoint(note);
    if (checkpoint === undefined || !isSignedBy(note, pinned)) throw new Error("not signed");
    return { ...checkpoint, source };
  };
  const judging = new LogJudge([
    ...checkpoints.map((note) => read(note, "log")),
    ...trusted.map((note) => read(note, "witness")),
  ]);
  for (const { frame } of frames) {
    if (frame.case !== "leaves") continue;
    frame.value.leaves.forEach(({ index, leaf }, place) => {
      const ownIndex = tryReadEntry(leaf)?.index;
      judging.add({
        index: Number(index),
        leaf,
        ownIndex: ownIndex === undefined ? undefined : Number(ownIndex),
        storedHash: frame.value.storedHashes.subarray(place * 32, place * 32 + 32),
      });
    });
  }
  return judging.finish();
}
