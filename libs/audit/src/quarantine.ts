/** What stands in the log for an entry that cannot: an entry that says so, so that one bad entry holds up no other. */
import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import { tryReadEntry } from "./entry.ts";
import { cut } from "./summary.ts";

/** Bytes of one entry. What auditors write stays below; more was written past them. */
export const ENTRY_BYTES_MAX = 32_768;
/** The last microsecond of the year 9999, the last that a Timestamp has. */
const TIME_US_MAX = 253_402_300_799_999_999n;

/** Why an entry is not taken as it is. */
export type EntryProblem = "too large" | "unreadable" | "of another service" | "of no time";

/** Judges what a service tells; undefined for an entry that is taken as it is. */
export function findEntryProblem(
  service: string,
  { draft, timeUs }: { readonly draft: Uint8Array; readonly timeUs: bigint },
): EntryProblem | undefined {
  if (draft.byteLength > ENTRY_BYTES_MAX) return "too large";
  const entry = tryReadEntry(draft);
  if (entry === undefined || draft.byteLength === 0) return "unreadable";
  if (entry.service !== service) return "of another service";
  return timeUs > TIME_US_MAX ? "of no time" : undefined;
}

/** An entry that is not taken as it is. */
export interface RefusedEntry {
  /** Whose outbox it is in. */
  readonly service: string;
  readonly stream: string;
  readonly position: bigint;
  readonly problem: EntryProblem;
  readonly sizeBytes: number;
  /** SHA-256 of it. */
  readonly digest: Uint8Array;
  /** Itself, where it is at hand: what it says is in the notice, as a claim. */
  readonly draft?: Uint8Array;
}

/** Encodes the entry that stands in the place of another. `enteredBy`: the service that found it.
 *
 * The same bytes each time: vault takes an entry that is told twice once only if it is the same. */
export function encodeQuarantineNotice(enteredBy: string, refused: RefusedEntry): Uint8Array {
  const { service, stream, position, problem, sizeBytes, digest, draft } = refused;
  const claims = draft === undefined ? undefined : tryReadEntry(draft);
  const fields = {
    problem,
    sha256: Buffer.from(digest).toString("hex"),
    size_bytes: String(sizeBytes),
    claimed_service: claims?.service ?? "",
    claimed_action: claims?.action ?? "",
    claimed_actor: claims?.actor ?? "",
    claimed_resource: claims?.resource ?? "",
  };
  const resource = `${service}/${stream}/${position}`;
  const entry = create(AuditEntrySchema, {
    entryId: idOf(resource, digest),
    service: enteredBy,
    action: `${enteredBy}:quarantined-entry`,
    result: AuditResult.FAILED,
    reason: "AUDIT_ENTRY_INVALID",
    actor: service,
    actorKind: "service",
    resource,
    fields: Object.entries(fields)
      .filter(([, value]) => value !== "")
      .map(([name, value]) => ({ name, value: cut(value) })),
  });
  return toBinary(AuditEntrySchema, entry);
}

/** A version 8 UUID, which is one of whatever its maker likes (RFC 9562). */
function idOf(resource: string, digest: Uint8Array): string {
  const hex = createHash("sha256").update(`${resource}\n`).update(digest).digest("hex");
  const parts = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
  ];
  return [...parts, hex.slice(20, 32)].join("-");
}
