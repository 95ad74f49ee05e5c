/** What replicas tell each other of themselves, as bytes. */
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type RosterChange as ChangeMessage,
  type RosterChangeSchema,
  RosterKeptSchema,
  RosterSchema,
} from "@nexus/proto/mesh";
import type { Roster, RosterChange, RosterEntry } from "../domain/remote/remote-ports.ts";

/** Says where a whole roster lies. */
export interface RosterKept {
  readonly sequence: number;
  readonly parts: number;
}

/** Encodes news, or a part of a whole roster. */
export function encodeRoster({ sequence, changes }: Roster, whole: boolean): Uint8Array {
  const init = { sequence: BigInt(sequence), whole, changes: changes.map(toChange) };
  return toBinary(RosterSchema, create(RosterSchema, init));
}

/** Decodes either. Errors: an Error when the bytes are none. */
export function decodeRoster(bytes: Uint8Array): Roster {
  const { sequence, changes } = fromBinary(RosterSchema, bytes);
  return {
    sequence: Number(sequence),
    changes: changes.map(fromChange).filter((change) => change !== undefined),
  };
}

/** Encodes where a whole roster lies. */
export function encodeKept({ sequence, parts }: RosterKept): Uint8Array {
  const init = { sequence: BigInt(sequence), parts };
  return toBinary(RosterKeptSchema, create(RosterKeptSchema, init));
}

/** Decodes it. Errors: an Error when the bytes are none. */
export function decodeKept(bytes: Uint8Array): RosterKept {
  const { sequence, parts } = fromBinary(RosterKeptSchema, bytes);
  return { sequence: Number(sequence), parts };
}

function toChange({ entry, gone }: RosterChange): MessageInitShape<typeof RosterChangeSchema> {
  return { namespace: entry.namespace, gone, subject: toSubject(entry) };
}

function toSubject(
  entry: RosterEntry,
): NonNullable<MessageInitShape<typeof RosterChangeSchema>["subject"]> {
  if (entry.kind === "session") {
    const { agentId, epoch, attached } = entry;
    return { case: "session", value: { agentId, epoch, attached } };
  }
  if (entry.kind === "watch") return { case: "watchedPattern", value: entry.pattern };
  const { agentId, pattern, group } = entry;
  return { case: "subscription", value: { agentId, pattern, group } };
}

function fromChange({ namespace, gone, subject }: ChangeMessage): RosterChange | undefined {
  if (subject.case === "session") {
    const { agentId, epoch, attached } = subject.value;
    return { gone, entry: { kind: "session", namespace, agentId, epoch, attached } };
  }
  if (subject.case === "subscription") {
    const { agentId, pattern, group } = subject.value;
    return { gone, entry: { kind: "subscription", namespace, agentId, pattern, group } };
  }
  if (subject.case === "watchedPattern") {
    return { gone, entry: { kind: "watch", namespace, pattern: subject.value } };
  }
  return undefined;
}
